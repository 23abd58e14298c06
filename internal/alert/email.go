package alert

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/wneessen/go-mail"
)

// email sends a notification as a plain text. Its Message-ID is made of the notification's id: mail
// that comes twice is known by it.
type email struct {
	cfg   *EmailConfig
	trust *tls.Config
}

func newEmail(c *EmailConfig, trust *tls.Config) *email {
	e := &email{c, trust.Clone()}
	e.trust.ServerName = c.host()
	return e
}

func (e *EmailConfig) validate() error {
	if len(e.To) == 0 || e.From == "" {
		return errors.New("email needs to and from")
	}
	if _, _, err := net.SplitHostPort(e.Server); err != nil {
		return fmt.Errorf("server %q: want host:port, such as smtp.example.com:587", e.Server)
	}
	if !slices.Contains([]string{"starttls", "tls", "none"}, e.TLS) {
		return fmt.Errorf("tls %q: want starttls, tls or none", e.TLS)
	}
	if e.Password != "" && e.TLS == "none" && !strings.HasPrefix(e.Server, "127.0.0.1:") && !strings.HasPrefix(e.Server, "localhost:") {
		return errors.New("a password over a connection without TLS could be read by anybody: use tls: starttls")
	}
	return e.addresses(mail.NewMsg())
}

func (e *EmailConfig) addresses(m *mail.Msg) error {
	if err := m.From(e.From); err != nil {
		return fmt.Errorf("from %q: %w", e.From, err)
	}
	if err := m.To(e.To...); err != nil {
		return fmt.Errorf("to %q: %w", e.To, err)
	}
	return nil
}

// Close implements Receiver.
func (e *email) Close() {}

// Send implements Receiver.
func (e *email) Send(ctx context.Context, n *Notification) error {
	m := mail.NewMsg(mail.WithNoDefaultUserAgent())
	if err := e.cfg.addresses(m); err != nil {
		return err
	}
	ids := make([]string, len(n.Alerts))
	for i, a := range n.Alerts {
		ids[i] = a.ID
	}
	m.SetMessageIDWithValue(n.ID + "@weir")
	m.SetGenHeader("Weir-Alert-Id", strings.Join(ids, ", "))
	m.SetDate()
	m.Subject(subject(n))
	m.SetBodyString(mail.TypeTextPlain, body(n))
	from, err := m.GetSender(false)
	if err != nil {
		return err
	}
	to, err := m.GetRecipients()
	if err != nil {
		return err
	}
	return e.deliver(ctx, from, to, m)
}

// subject is one line: status, number, and what.
func subject(n *Notification) string {
	status, count := "FIRING", n.Count(Firing)
	if n.Status == Resolved {
		status, count = "RESOLVED", n.Count(Resolved)
	}
	what := n.Alerts[0].Summary
	if count > 1 {
		what = n.Alerts[0].Name + ": " + what + ", …"
	}
	return fmt.Sprintf("[%s %d] %s", status, count, strings.Join(strings.Fields(what), " "))
}

// body lists the alerts, those that fire first.
func body(n *Notification) string {
	var b strings.Builder
	for _, a := range n.Alerts {
		fmt.Fprintf(&b, "%s  %s  %s\n", strings.ToUpper(string(a.Status)), a.Severity, a.Summary)
		for _, pairs := range []map[string]string{a.Labels, a.Annotations} {
			for _, name := range slices.Sorted(maps.Keys(pairs)) {
				if name != "severity" {
					fmt.Fprintf(&b, "  %s: %s\n", name, pairs[name])
				}
			}
		}
		fmt.Fprintf(&b, "  since: %s\n", a.Since.UTC().Format(time.RFC3339))
		if a.Status == Resolved {
			fmt.Fprintf(&b, "  resolved: %s\n", a.ResolvedAt.UTC().Format(time.RFC3339))
		}
		fmt.Fprintf(&b, "  id: %s\n\n", a.ID)
	}
	return b.String()
}
