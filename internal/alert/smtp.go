package alert

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/wneessen/go-mail/smtp"
)

// deliver sends what is written, within ctx.
func (e *email) deliver(ctx context.Context, from string, to []string, content io.WriterTo) error {
	asked := "the connection"
	conn, err := e.dial(ctx)
	if err == nil {
		defer conn.Close()
		defer context.AfterFunc(ctx, func() { _ = conn.Close() })() // ends what waits for the server
		err = e.converse(conn, from, to, content, &asked)
	}
	var late net.Error
	if err != nil && (ctx.Err() != nil || errors.As(err, &late) && late.Timeout()) { // the connection may know of the deadline first
		if asked == "a greeting" && e.cfg.TLS != "tls" {
			asked += " (a port that begins with TLS, such as 465, wants tls: tls)"
		}
		return &timeoutError{asked: asked}
	}
	return err
}

// host is the server's name, which its certificate has to be for.
func (e *EmailConfig) host() string {
	host, _, _ := net.SplitHostPort(e.Server) // Validate has
	return host
}

// dial connects to the server, and ends the connection with ctx.
func (e *email) dial(ctx context.Context) (net.Conn, error) {
	var d interface {
		DialContext(ctx context.Context, network, address string) (net.Conn, error)
	} = &net.Dialer{}
	if e.cfg.TLS == "tls" {
		d = &tls.Dialer{Config: e.trust}
	}
	conn, err := d.DialContext(ctx, "tcp", e.cfg.Server)
	if err != nil {
		var plain tls.RecordHeaderError
		if errors.As(err, &plain) {
			return nil, fmt.Errorf("it does not begin with TLS: use tls: starttls, as is usual at port 587: %w", err)
		}
		return nil, explainTLS(err)
	}
	return conn, nil
}

// converse hands one mail to the server (RFC 5321). It returns nil as soon as the server has taken
// it, whatever becomes of the connection then, and a PartlyError where it takes it for some
// addresses only. asked says what the server is waited for.
func (e *email) converse(conn net.Conn, from string, to []string, content io.WriterTo, asked *string) error {
	*asked = "a greeting"
	client, err := smtp.NewClient(conn, e.cfg.host())
	if err != nil {
		return fmt.Errorf("it does not greet as a mail server does: %w", err)
	}
	*asked = "EHLO"
	name, err := os.Hostname()
	if err != nil {
		name = "localhost"
	}
	if err := client.Hello(name); err != nil {
		return err
	}
	if e.cfg.TLS == "starttls" {
		*asked = "STARTTLS"
		if offered, _ := client.Extension("STARTTLS"); !offered {
			return errors.New("it does not offer STARTTLS: use tls: tls, as is usual at port 465, or tls: none where anybody may read it")
		}
		if err := client.StartTLS(e.trust); err != nil {
			return fmt.Errorf("STARTTLS: %w", explainTLS(err))
		}
	}
	if e.cfg.User != "" {
		*asked = "AUTH"
		if err := e.authenticate(client); err != nil {
			return err
		}
	}
	*asked = "MAIL and RCPT"
	if err := client.Mail(from); err != nil {
		return fmt.Errorf("it refuses mail from %s: %w", strings.Trim(from, "<>"), err)
	}
	refused, err := recipients(client, to)
	if err != nil {
		return err
	}
	*asked = "the mail"
	w, err := client.Data()
	if err != nil {
		return err
	}
	if _, err := content.WriteTo(w); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return fmt.Errorf("it does not take the mail: %w", err)
	}
	_ = conn.SetDeadline(time.Now().Add(time.Second)) // it has the mail: how it says good-bye does not matter
	_ = client.Quit()
	if refused != nil {
		return &PartlyError{Refused: refused}
	}
	return nil
}

// recipients names who the mail is for. One that is refused for good, as a misspelt address is,
// does not keep the mail from the others; one that is refused for now does, because the mail would
// have to be sent to all again.
func recipients(client *smtp.Client, to []string) (refused []error, err error) {
	for _, address := range to {
		if err := client.Rcpt(address); err != nil {
			err = fmt.Errorf("it refuses %s: %w", strings.Trim(address, "<>"), err)
			var answer *textproto.Error
			if !errors.As(err, &answer) || answer.Code/100 != 5 {
				return nil, err
			}
			refused = append(refused, err)
		}
	}
	if len(refused) == len(to) {
		return nil, errors.New(oneLine(refused))
	}
	return refused, nil
}

func (e *email) authenticate(client *smtp.Client) error {
	_, offered := client.Extension("AUTH")
	known := map[string]smtp.Auth{
		"PLAIN":    smtp.PlainAuth("", e.cfg.User, e.cfg.Password, e.cfg.host(), false),
		"LOGIN":    smtp.LoginAuth(e.cfg.User, e.cfg.Password, e.cfg.host(), false),
		"CRAM-MD5": smtp.CRAMMD5Auth(e.cfg.User, e.cfg.Password),
	}
	for _, mechanism := range []string{"PLAIN", "LOGIN", "CRAM-MD5"} {
		if !slices.Contains(strings.Fields(strings.ToUpper(offered)), mechanism) {
			continue
		}
		if err := client.Auth(known[mechanism]); err != nil {
			return fmt.Errorf("it refuses the user %s by %s: check user and password: %w", e.cfg.User, mechanism, err)
		}
		return nil
	}
	if offered == "" {
		return errors.New("it takes no user and password here: leave them out, or use another port or tls")
	}
	return fmt.Errorf("it takes users by %s only: want PLAIN, LOGIN or CRAM-MD5", offered)
}
