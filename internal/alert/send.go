package alert

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// result is the outcome of sending a notification.
type result struct {
	n      *Notification
	failed error // nil if the receiver has accepted it
	at     time.Time
}

// send sends a notification in the background. After a stop, half of StopTimeout remains for it.
func (d *deliverer) send(n *Notification) {
	d.inFlight.Go(func() {
		receiver, log := d.cfg.Alerts.Receivers[n.Receiver], d.cfg.Logger.With("receiver", n.Receiver, "notification", n.ID)
		err := send(d.sending, receiver, d.receivers[n.Receiver], n)
		d.cfg.Metrics.sent(receiver, n, err, d.cfg.Now())
		var partly *PartlyError
		if errors.As(err, &partly) {
			log.Warn("alert not delivered to all", "err", err)
			err = nil // sending it again would duplicate it for the others
		}
		if err != nil {
			log.Warn("alert not delivered", "alerts", len(n.Alerts), "attempt", n.attempt+1, "err", err)
		} else {
			log.Info("alert delivered", "firing", n.Count(Firing), "resolved", n.Count(Resolved))
		}
		d.mu.Lock()
		d.results = append(d.results, result{n, err, d.cfg.Now()})
		if d.wake != nil {
			d.wake()
		}
		d.mu.Unlock()
		d.cfg.OnSend(n, err)
	})
}

// send sends a notification within the receiver's timeout.
func send(ctx context.Context, c *ReceiverConfig, r Receiver, n *Notification) error {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	err := r.Send(ctx, n)
	var late *timeoutError
	switch {
	case errors.As(err, &late):
		return fmt.Errorf("%w within %s", err, c.Timeout)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("no answer within %s", c.Timeout)
	}
	return err
}

// wakeWith sets the function that ends the wait for rows when a result arrives. If results have
// already arrived, it is called immediately.
func (d *deliverer) wakeWith(wake func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.wake = wake
	if len(d.results) > 0 {
		wake()
	}
}

func (d *deliverer) takeResults() []result {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := d.results
	d.results = nil
	return all
}
