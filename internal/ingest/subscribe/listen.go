package subscribe

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

// Listen calls fn for the messages of a broker until ctx is done, without a session that remains
// there: nothing is acknowledged, and nobody else is disturbed.
func Listen(ctx context.Context, c *Config, fn func(topic string, payload []byte)) error {
	l, err := openAny(ctx, c, 0, true)
	if err != nil {
		return err
	}
	defer l.close()
	defer context.AfterFunc(ctx, func() { _ = l.conn.SetReadDeadline(time.Unix(1, 0)) })()
	var all []packets.Subscription
	for _, filter := range c.filters() {
		all = append(all, packets.Subscription{Filter: filter})
	}
	if err := l.request(packets.Subscribe, 1, all); err != nil {
		return err
	}
	for {
		p, err := l.read()
		var long *tooLong
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.As(err, &long):
			continue
		case err != nil:
			return l.cause(err)
		}
		switch p.FixedHeader.Type {
		case packets.Publish:
			fn(p.TopicName, p.Payload)
		case packets.Suback:
			for i, code := range p.ReasonCodes {
				if code >= 0x80 && i < len(all) {
					return fmt.Errorf("the broker refuses the subscription of %q: %s", all[i].Filter, meaning(l.version, code, p.Properties.ReasonString))
				}
			}
		case packets.Disconnect:
			return fmt.Errorf("the broker has ended the connection: %s", meaning(l.version, p.ReasonCode, p.Properties.ReasonString))
		}
	}
}
