package mqtt

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"
	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/hooks/storage"
	"github.com/mochi-mqtt/server/v2/packets"
)

// Keys of the store. MQTT's texts have no byte 0, so that it separates them.
const (
	sessionPrefix      = "session\x00"      // client
	subscriptionPrefix = "subscription\x00" // client, filter
	undeliveredPrefix  = "undelivered\x00"  // client, packet identifier
	retainedPrefix     = "retained\x00"     // topic
)

// store keeps on the disk what outlives connections and the process. A change is in the operating
// system's hands when the method returns, and on the disk after sync.
type store struct {
	db         *pebble.DB
	log        *slog.Logger
	unreadable int // entries that were set aside at the start

	mu       sync.Mutex
	failed   error          // of the last change
	retained map[string]int // bytes, by topic
	bytes    int            // of all of them
}

// storedMessage is a message, and when it expires.
type storedMessage struct {
	storage.Message
	Expiry int64 `json:"expiry,omitempty"` // Unix seconds; 0: never
}

// packet returns the message as it was stored.
func (m *storedMessage) packet() packets.Packet {
	pk := m.ToPacket()
	pk.ProtocolVersion, pk.Expiry = 5, m.Expiry // mochi-mqtt lets messages of MQTT 5 expire
	return pk
}

// storedSession is a session, and since when its client is absent.
type storedSession struct {
	Client storage.Client `json:"client"`
	Seen   time.Time      `json:"seen"`
}

func openStore(dir string, log *slog.Logger) (*store, error) {
	db, err := pebble.Open(dir, &pebble.Options{
		FormatMajorVersion: pebble.FormatNewest, MemTableSize: 2 << 20, CacheSize: 1 << 20, MaxOpenFiles: 50, Logger: quiet{log},
	})
	if err != nil {
		return nil, err
	}
	s := &store{db: db, log: log, retained: make(map[string]int)}
	if err := s.setUnreadableAside(dir); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	all, err := load[storedMessage](s, retainedPrefix)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	for i := range all {
		s.retained[all[i].TopicName] = len(all[i].Payload)
		s.bytes += len(all[i].Payload)
	}
	return s, nil
}

func (s *store) close() error { return s.db.Close() }

// report keeps and logs why changes are not stored.
func (s *store) report(err error) {
	s.mu.Lock()
	before := s.failed
	s.failed = err
	s.mu.Unlock()
	if err != nil && before == nil {
		s.log.Error("MQTT sessions and retained messages cannot be stored: a restart would forget what changes now", "err", err)
	}
}

func (s *store) failing() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failed
}

// sync makes all changes durable.
func (s *store) sync() { s.report(s.db.LogData(nil, pebble.Sync)) }

func (s *store) set(key string, value any) {
	data, err := json.Marshal(value)
	if err == nil {
		err = s.db.Set([]byte(key), data, pebble.NoSync)
	}
	if err != nil {
		s.report(err)
	}
}

func (s *store) remove(key string) {
	if err := s.db.Delete([]byte(key), pebble.NoSync); err != nil {
		s.report(err)
	}
}

// session stores the session of a client.
func (s *store) session(cl *mochi.Client) {
	p := &cl.Properties
	s.set(sessionPrefix+cl.ID, storedSession{
		Client: storage.Client{
			ID: cl.ID, Listener: cl.Net.Listener, Username: p.Username, ProtocolVersion: p.ProtocolVersion, Clean: p.Clean,
			Properties: storage.ClientProperties{
				SessionExpiryInterval: p.Props.SessionExpiryInterval, SessionExpiryIntervalFlag: p.Props.SessionExpiryIntervalFlag,
			},
		},
		Seen: time.Now(),
	})
}

// forget removes a session with all that belongs to it.
func (s *store) forget(client string) {
	s.remove(sessionPrefix + client)
	for _, prefix := range []string{subscriptionPrefix, undeliveredPrefix} {
		from := []byte(prefix + client + "\x00")
		to := []byte(prefix + client + "\x01")
		if err := s.db.DeleteRange(from, to, pebble.NoSync); err != nil {
			s.report(err)
		}
	}
}

// sessions returns the sessions that have not expired.
func (s *store) sessions(longest time.Duration) ([]storage.Client, error) {
	all, err := load[storedSession](s, sessionPrefix)
	if err != nil {
		return nil, err
	}
	var valid []storage.Client
	for _, one := range all {
		limit := longest
		if p := one.Client.Properties; one.Client.ProtocolVersion == 5 {
			limit = min(limit, time.Duration(p.SessionExpiryInterval)*time.Second)
		}
		if time.Since(one.Seen) > limit {
			s.forget(one.Client.ID)
			continue
		}
		valid = append(valid, one.Client)
	}
	return valid, nil
}

func (s *store) subscribe(client string, sub packets.Subscription) {
	s.set(subscriptionPrefix+client+"\x00"+sub.Filter, storage.Subscription{
		Client: client, Filter: sub.Filter, Identifier: sub.Identifier, RetainHandling: sub.RetainHandling, Qos: sub.Qos,
		RetainAsPublished: sub.RetainAsPublished, NoLocal: sub.NoLocal,
	})
}

func (s *store) unsubscribe(client, filter string) {
	s.remove(subscriptionPrefix + client + "\x00" + filter)
}

func undeliveredKey(client string, packet uint16) string {
	return string(binary.BigEndian.AppendUint16([]byte(undeliveredPrefix+client+"\x00"), packet))
}

func (s *store) undelivered(client string, pk *packets.Packet) {
	m := messageOf(pk)
	m.Client, m.PacketID = client, pk.PacketID
	s.set(undeliveredKey(client, pk.PacketID), m)
}

func (s *store) delivered(client string, packet uint16) { s.remove(undeliveredKey(client, packet)) }

func messageOf(pk *packets.Packet) storedMessage {
	p := &pk.Properties
	return storedMessage{Expiry: max(0, pk.Expiry), Message: storage.Message{
		FixedHeader: pk.FixedHeader, TopicName: pk.TopicName, Payload: pk.Payload, Origin: pk.Origin, Created: pk.Created,
		Properties: storage.MessageProperties{
			PayloadFormat: p.PayloadFormat, PayloadFormatFlag: p.PayloadFormatFlag, MessageExpiryInterval: p.MessageExpiryInterval,
			ContentType: p.ContentType, ResponseTopic: p.ResponseTopic, CorrelationData: p.CorrelationData,
			SubscriptionIdentifier: p.SubscriptionIdentifier, User: p.User,
		},
	}}
}

// retain stores a retained message, or removes it if it has no payload. It returns false if there
// are too many.
func (s *store) retain(pk *packets.Packet) bool {
	s.mu.Lock()
	before, known := s.retained[pk.TopicName]
	size := len(pk.Payload)
	switch {
	case size == 0:
		delete(s.retained, pk.TopicName)
		s.bytes -= before
	case !known && len(s.retained) >= maxRetained || s.bytes-before+size > maxRetainBytes:
		s.mu.Unlock()
		return false
	default:
		s.retained[pk.TopicName] = size
		s.bytes += size - before
	}
	s.mu.Unlock()
	if size == 0 {
		s.remove(retainedPrefix + pk.TopicName)
		return true
	}
	s.set(retainedPrefix+pk.TopicName, messageOf(pk))
	return true
}

func (s *store) retainedCount() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.retained)
}

// load returns the values under a prefix.
func load[T any](s *store, prefix string) (all []T, err error) {
	err = s.each(prefix, prefix[:len(prefix)-1]+"\x01", func(key string, value []byte) error {
		var one T
		if err := json.Unmarshal(value, &one); err != nil {
			return fmt.Errorf("%q: %w", key, err)
		}
		all = append(all, one)
		return nil
	})
	return all, err
}

// quiet is the database's logger.
type quiet struct{ log *slog.Logger }

// Infof drops what the database reports about its work.
func (quiet) Infof(string, ...any) {}

// Errorf logs an error.
func (q quiet) Errorf(format string, args ...any) {
	q.log.Error("the database of MQTT sessions", "err", fmt.Sprintf(format, args...))
}

// Fatalf logs an error after which the database cannot be used. It must not return.
func (q quiet) Fatalf(format string, args ...any) {
	panic("the database of MQTT sessions: " + fmt.Sprintf(format, args...))
}
