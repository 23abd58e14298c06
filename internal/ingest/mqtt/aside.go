package mqtt

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/cockroachdb/pebble/v2"
	"github.com/mochi-mqtt/server/v2/hooks/storage"
	"github.com/mochi-mqtt/server/v2/packets"

	"weir.example/weir/internal/durable"
)

// unreadableFile is beside the store's directory. It has a line for each entry that was set aside.
func unreadableFile(dir string) string { return filepath.Clean(dir) + "-unreadable.ndjson" }

// setAside is a line of that file. Key and value are base64.
type setAside struct {
	At    time.Time `json:"at"`
	What  string    `json:"what"`
	Cause string    `json:"cause"`
	Key   []byte    `json:"key"`
	Value []byte    `json:"value"`
}

// unreadable is an entry, by the part of the state that cannot be used without it: a session, whose
// client would otherwise not learn that it misses a subscription, or a single message.
type unreadable struct {
	what    string
	session string // of this client; "" for a message
	key     string
	cause   error
}

// setUnreadableAside moves entries that cannot be decoded, or that do not fit their keys, to a
// file, and logs them. All others are kept. After a crash in the middle, the file may have an entry
// twice.
func (s *store) setUnreadableAside(dir string) error {
	bad, err := s.findUnreadable()
	if err != nil || len(bad) == 0 {
		return err
	}
	var lines []byte
	batch := s.db.NewBatch()
	moved := make(map[string]bool)
	for _, one := range bad {
		from, to := one.key, one.key+"\x00"
		ranges := [][2]string{{from, to}}
		if one.session != "" {
			ranges = append(ranges, [2]string{sessionPrefix + one.session, sessionPrefix + one.session + "\x00"},
				[2]string{subscriptionPrefix + one.session + "\x00", subscriptionPrefix + one.session + "\x01"},
				[2]string{undeliveredPrefix + one.session + "\x00", undeliveredPrefix + one.session + "\x01"})
		}
		entries := 0
		for _, r := range ranges {
			err := s.each(r[0], r[1], func(key string, value []byte) error {
				if moved[key] {
					return nil
				}
				moved[key] = true
				entries++
				line, err := json.Marshal(setAside{At: time.Now(), What: one.what, Cause: one.cause.Error(), Key: []byte(key), Value: value})
				lines = append(append(lines, line...), '\n')
				return errors.Join(err, batch.Delete([]byte(key), nil))
			})
			if err != nil {
				return errors.Join(err, batch.Close())
			}
		}
		if entries > 0 {
			s.log.Error("set aside what cannot be read of the MQTT sessions", "what", one.what, "key", one.key, "err", one.cause, "entries", entries, "file", unreadableFile(dir))
		}
	}
	if err := appendDurably(unreadableFile(dir), lines); err != nil {
		return errors.Join(err, batch.Close())
	}
	s.unreadable = len(moved)
	return batch.Commit(pebble.Sync)
}

// appendDurably appends to a file that only its owner can read.
func appendDurably(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600) //nolint:gosec // the data directory is the user's choice
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return durable.SyncDir(filepath.Dir(path))
}

// findUnreadable examines all entries.
func (s *store) findUnreadable() (bad []unreadable, err error) {
	for _, prefix := range []string{retainedPrefix, sessionPrefix, subscriptionPrefix, undeliveredPrefix} {
		err := s.each(prefix, prefix[:len(prefix)-1]+"\x01", func(key string, value []byte) error {
			if one := examine(key, value); one.cause != nil {
				bad = append(bad, one)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return bad, nil
}

// each calls fn with the entries of a range of keys.
func (s *store) each(from, to string, fn func(key string, value []byte) error) error {
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: []byte(from), UpperBound: []byte(to)})
	if err != nil {
		return err
	}
	for ok := it.First(); ok; ok = it.Next() {
		if err := fn(string(it.Key()), it.Value()); err != nil {
			return errors.Join(err, it.Close())
		}
	}
	return it.Close()
}

// examine returns the entry with the cause why it cannot be read, or with none.
func examine(key string, value []byte) unreadable {
	kind, rest, _ := strings.Cut(key, "\x00")
	one := unreadable{key: key}
	switch kind + "\x00" {
	case sessionPrefix:
		one.what, one.session = fmt.Sprintf("session of client %q", rest), rest
		var v storedSession
		one.cause = decode(value, &v, func() error { return checkSession(&v, rest) })
	case subscriptionPrefix:
		client, filter, _ := strings.Cut(rest, "\x00")
		one.what, one.session = fmt.Sprintf("session of client %q, whose subscription to %q cannot be read", client, filter), client
		var v storage.Subscription
		one.cause = decode(value, &v, func() error { return checkSubscription(&v, client, filter) })
	case undeliveredPrefix:
		var v storedMessage
		one.what = "undelivered message"
		one.cause = decode(value, &v, func() error {
			if want := undeliveredKey(v.Client, v.PacketID); v.Client == "" || v.PacketID == 0 || want != key {
				return errOtherKey
			}
			return checkMessage(&v)
		})
		if end := len(rest) - 3; end > 0 {
			one.what = fmt.Sprintf("undelivered message of client %q", rest[:end])
		}
	case retainedPrefix:
		one.what = fmt.Sprintf("retained message of topic %q", rest)
		var v storedMessage
		one.cause = decode(value, &v, func() error {
			if v.TopicName != rest {
				return errOtherKey
			}
			return checkMessage(&v)
		})
	}
	return one
}

// errOtherKey means that an entry belongs to another key.
var errOtherKey = errors.New("the value does not belong to its key")

func decode(value []byte, into any, check func() error) error {
	if err := json.Unmarshal(value, into); err != nil {
		return err
	}
	return check()
}

func checkSession(v *storedSession, client string) error {
	switch {
	case client == "" || v.Client.ID != client:
		return errOtherKey
	case v.Client.ProtocolVersion != 4 && v.Client.ProtocolVersion != 5:
		return fmt.Errorf("there is no protocol version %d", v.Client.ProtocolVersion)
	}
	return nil
}

func checkSubscription(v *storage.Subscription, client, filter string) error {
	switch {
	case client == "" || filter == "" || v.Client != client || v.Filter != filter:
		return errOtherKey
	case v.Qos > 2 || v.RetainHandling > 2:
		return fmt.Errorf("there is no QoS %d with retain handling %d", v.Qos, v.RetainHandling)
	case v.Identifier < 0 || v.Identifier > 268_435_455:
		return fmt.Errorf("there is no subscription identifier %d", v.Identifier)
	}
	return nil
}

// checkMessage refuses what cannot be sent: MQTT's texts have at most 65,535 bytes.
func checkMessage(v *storedMessage) error {
	p := &v.Properties
	texts := []string{v.TopicName, p.ContentType, p.ResponseTopic, string(p.CorrelationData)}
	for _, u := range p.User {
		texts = append(texts, u.Key, u.Val)
	}
	for _, t := range texts {
		if len(t) > 65_535 {
			return fmt.Errorf("a text of %d bytes is too long", len(t))
		}
	}
	for _, id := range p.SubscriptionIdentifier {
		if id < 0 || id > 268_435_455 { // 0: the subscription has none
			return fmt.Errorf("there is no subscription identifier %d", id)
		}
	}
	switch {
	case v.FixedHeader.Type != packets.Publish || v.FixedHeader.Qos > 2:
		return fmt.Errorf("a packet of type %d with QoS %d is no message", v.FixedHeader.Type, v.FixedHeader.Qos)
	case v.TopicName == "" || !utf8.ValidString(v.TopicName) || strings.ContainsAny(v.TopicName, "+#\x00"):
		return fmt.Errorf("%q is not a topic", v.TopicName)
	}
	return nil
}
