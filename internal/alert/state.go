package alert

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/saved"
	"weir.example/weir/internal/site"
)

// Keys of a site's compacted topic of alerts and silences, before their ids. Values are JSON.
const (
	alertKey   = "alert/"
	silenceKey = "silence/"
)

func stateTopic(s site.Site) broker.Topic {
	return broker.Topic{Name: s.Alerts(), Partitions: 1, CleanupPolicy: "compact"}
}

func (a *Alert) record(topic string) (*kgo.Record, error) {
	value, err := json.Marshal(a)
	if err != nil {
		return nil, fmt.Errorf("encode alert %s: %w", a.ID, err)
	}
	return &kgo.Record{Topic: topic, Key: []byte(alertKey + a.ID), Value: value}, nil
}

// silenceOf decodes the record of a silence. s is nil for a deleted silence and for one that can't
// be read, and id is "" for any other kind of record.
func silenceOf(r *kgo.Record) (id string, s *Silence, err error) {
	id, ok := strings.CutPrefix(string(r.Key), silenceKey)
	if !ok {
		return "", nil, nil
	}
	if r.Value == nil {
		return id, nil, nil
	}
	s = &Silence{}
	err = saved.Decode(r.Value, s, "id", "match", "until")
	if err == nil && s.ID != id {
		err = fmt.Errorf("it has the id %q", s.ID)
	}
	if err == nil {
		err = s.Validate() // one without match would silence everything
	}
	if err != nil {
		return id, nil, damaged("silence", id, r, err)
	}
	return id, s, nil
}

// alertOf decodes the record of an alert, with its id.
func alertOf(id string, r *kgo.Record) (*Alert, error) {
	a := &Alert{}
	err := saved.Decode(r.Value, a, "id", "status", "origin")
	if err == nil && a.ID != id {
		err = fmt.Errorf("it has the id %q", a.ID)
	}
	if err != nil {
		return nil, damaged("alert", id, r, err)
	}
	return a, nil
}

func damaged(what, id string, r *kgo.Record, err error) error {
	return fmt.Errorf("%s %s in %s at offset %d is damaged, or Weir has not written it: %w. Write a record without a value and with the key %q there, and it is forgotten", what, id, r.Topic, r.Offset, err, r.Key)
}

// State is the content of the state topic.
type State struct {
	Alerts   []*Alert  `json:"alerts"`   // firing ones first, newest first
	Silences []Silence `json:"silences"` // by end time
}

// ReadState reads a site's state topic to its end. The state is empty if the topic does not exist.
func ReadState(ctx context.Context, c broker.Config, of site.Site) (*State, error) {
	alerts, silences := make(map[string]*Alert), make(map[string]Silence)
	unreadable := make(saved.Unreadable)
	err := broker.ReadAll(ctx, c, of.Alerts(), nil, func(r *kgo.Record) error {
		delete(unreadable, string(r.Key))
		if id, s, err := silenceOf(r); id != "" {
			if s == nil {
				delete(silences, id)
			} else {
				silences[id] = *s
			}
			if err != nil {
				unreadable[string(r.Key)] = err
			}
			return nil
		}
		id, ok := strings.CutPrefix(string(r.Key), alertKey)
		if !ok {
			return nil
		}
		if r.Value == nil {
			delete(alerts, id)
			return nil
		}
		a, err := alertOf(id, r)
		if err != nil {
			unreadable[string(r.Key)] = err
			return nil
		}
		alerts[id] = a
		return nil
	})
	if errors.Is(err, kerr.UnknownTopicOrPartition) {
		err = nil // no alert was ever delivered or silenced
	}
	if err = errors.Join(err, unreadable.Err()); err != nil {
		return nil, fmt.Errorf("read alert state: %w", err)
	}
	s := &State{Alerts: []*Alert{}, Silences: []Silence{}}
	for _, a := range alerts {
		s.Alerts = append(s.Alerts, a)
	}
	slices.SortFunc(s.Alerts, func(a, b *Alert) int {
		if a.Status != b.Status {
			return strings.Compare(string(a.Status), string(b.Status))
		}
		if c := b.Since.Compare(a.Since); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	for _, x := range silences {
		s.Silences = append(s.Silences, x)
	}
	slices.SortFunc(s.Silences, func(a, b Silence) int { return a.Until.Compare(b.Until) })
	return s, nil
}

// PutSilence stores a silence of a site. Running deliveries apply it.
func PutSilence(ctx context.Context, c broker.Config, of site.Site, s Silence) error {
	value, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return put(ctx, c, of, silenceKey+s.ID, value)
}

// DeleteSilence deletes a silence of a site.
func DeleteSilence(ctx context.Context, c broker.Config, of site.Site, id string) error {
	return put(ctx, c, of, silenceKey+id, nil)
}

func put(ctx context.Context, c broker.Config, of site.Site, key string, value []byte) error {
	client, err := broker.Connect(ctx, c)
	if err != nil {
		return err
	}
	defer client.Close()
	if err := broker.EnsureTopics(ctx, kadm.NewClient(client), []broker.Topic{stateTopic(of)}); err != nil {
		return fmt.Errorf("create topic %s: %w", of.Alerts(), err)
	}
	return client.ProduceSync(ctx, &kgo.Record{Topic: of.Alerts(), Key: []byte(key), Value: value}).FirstErr()
}
