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

// email sends a notification as plain text. The Message-ID is derived from the notification's id,
// so that duplicates can be detected.
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
		return fmt.Errorf("server %q: expected host:port, such as smtp.example.com:587", e.Server)
	}
	if !slices.Contains([]string{"starttls", "tls", "none"}, e.TLS) {
		return fmt.Errorf("tls %q: expected starttls, tls or none", e.TLS)
	}
	if e.Password != "" && e.TLS == "none" && !strings.HasPrefix(e.Server, "127.0.0.1:") && !strings.HasPrefix(e.Server, "localhost:") {
		return errors.New("without TLS the password could be intercepted: use tls: starttls")
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

// subject returns one line: status, count and summary.
func subject(n *Notification) string {
	status, count := "FIRING", n.Count(Firing)
	if n.Status == Resolved {
		status, count = "RESOLVED", n.Count(Resolved)
	}
	summary := n.Alerts[0].Summary
	if count > 1 {
		summary = n.Alerts[0].Name + ": " + summary + ", …"
	}
	return fmt.Sprintf("[%s %d] %s", status, count, strings.Join(strings.Fields(summary), " "))
}

// body lists the alerts, firing ones first.
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
