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

	"weir.example/weir/internal/webhook"
)

// deliver sends content to the server before ctx is done.
func (e *email) deliver(ctx context.Context, from string, to []string, content io.WriterTo) error {
	step := "the connection"
	conn, err := e.dial(ctx)
	if err == nil {
		defer conn.Close()
		defer context.AfterFunc(ctx, func() { _ = conn.Close() })() // interrupts pending reads and writes
		err = e.converse(conn, from, to, content, &step)
	}
	var late net.Error
	if err != nil && (ctx.Err() != nil || errors.As(err, &late) && late.Timeout()) { // the connection may reach its deadline first
		if step == "a greeting" && e.cfg.TLS != "tls" {
			step += " (a port with implicit TLS, such as 465, needs tls: tls)"
		}
		return &timeoutError{step: step}
	}
	return err
}

// host returns the server's name, which its certificate must match.
func (e *EmailConfig) host() string {
	host, _, _ := net.SplitHostPort(e.Server) // checked by Validate
	return host
}

// dial connects to the server.
func (e *email) dial(ctx context.Context) (net.Conn, error) {
	var d interface {
		DialContext(ctx context.Context, network, address string) (net.Conn, error)
	} = &net.Dialer{}
	if e.cfg.TLS == "tls" {
		d = &tls.Dialer{Config: e.trust}
	}
	conn, err := d.DialContext(ctx, "tcp", e.cfg.Server)
	if err != nil {
		var notTLS tls.RecordHeaderError
		if errors.As(err, &notTLS) {
			return nil, fmt.Errorf("the server does not use implicit TLS: use tls: starttls, as usual on port 587: %w", err)
		}
		return nil, webhook.ExplainTLS(err)
	}
	return conn, nil
}

// converse sends one mail (RFC 5321). It returns nil once the server has accepted the mail,
// whatever happens to the connection afterwards, and a *PartlyError if the server accepts it for
// some addresses only. It sets step to the response that it is waiting for.
func (e *email) converse(conn net.Conn, from string, to []string, content io.WriterTo, step *string) error {
	*step = "a greeting"
	client, err := smtp.NewClient(conn, e.cfg.host())
	if err != nil {
		return fmt.Errorf("no greeting of a mail server: %w", err)
	}
	*step = "EHLO"
	name, err := os.Hostname()
	if err != nil {
		name = "localhost"
	}
	if err := client.Hello(name); err != nil {
		return err
	}
	if e.cfg.TLS == "starttls" {
		*step = "STARTTLS"
		if offered, _ := client.Extension("STARTTLS"); !offered {
			return errors.New("the server does not offer STARTTLS: use tls: tls, as usual on port 465, or tls: none if the mail is not confidential")
		}
		if err := client.StartTLS(e.trust); err != nil {
			return fmt.Errorf("STARTTLS: %w", webhook.ExplainTLS(err))
		}
	}
	if e.cfg.User != "" {
		*step = "AUTH"
		if err := e.authenticate(client); err != nil {
			return err
		}
	}
	*step = "MAIL and RCPT"
	if err := client.Mail(from); err != nil {
		return fmt.Errorf("the server rejects the sender %s: %w", strings.Trim(from, "<>"), err)
	}
	rejected, err := recipients(client, to)
	if err != nil {
		return err
	}
	*step = "the mail"
	w, err := client.Data()
	if err != nil {
		return err
	}
	if _, err := content.WriteTo(w); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return fmt.Errorf("the server rejects the mail: %w", err)
	}
	_ = conn.SetDeadline(time.Now().Add(time.Second)) // the mail is accepted: the outcome of QUIT does not matter
	_ = client.Quit()
	if rejected != nil {
		return &PartlyError{Rejected: rejected}
	}
	return nil
}

// recipients announces the recipients. A permanently rejected address, such as a misspelled one,
// does not keep the mail from the others. A temporarily rejected one does, because the mail would
// have to be sent to all of them again.
func recipients(client *smtp.Client, to []string) (rejected []error, err error) {
	for _, address := range to {
		if err := client.Rcpt(address); err != nil {
			err = fmt.Errorf("the server rejects %s: %w", strings.Trim(address, "<>"), err)
			var resp *textproto.Error
			if !errors.As(err, &resp) || resp.Code/100 != 5 {
				return nil, err
			}
			rejected = append(rejected, err)
		}
	}
	if len(rejected) == len(to) {
		return nil, errors.New(oneLine(rejected))
	}
	return rejected, nil
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
			return fmt.Errorf("the server rejects the user %s with %s: check user and password: %w", e.cfg.User, mechanism, err)
		}
		return nil
	}
	if offered == "" {
		return errors.New("the server does not offer authentication here: remove user and password, or use another port or tls")
	}
	return fmt.Errorf("the server offers authentication by %s only: expected PLAIN, LOGIN or CRAM-MD5", offered)
}
