// Command sarama checks IBM's client. Argument: the bootstrap address.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/IBM/sarama"
)

const partitions = 3

var (
	at             = os.Args[1:]
	errUnsupported = errors.New("unsupported")
	admin          sarama.ClusterAdmin
	values         []string
)

func main() {
	for i := range 60 {
		values = append(values, "v"+strconv.Itoa(i))
	}
	var err error
	if admin, err = sarama.NewClusterAdmin(at, config()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	for _, c := range []struct {
		name  string
		check func() error
	}{
		{"produce", produce}, {"idempotent", idempotent}, {"compression", compression}, {"classic group", group},
		{"KIP-848 group", func() error { return errUnsupported }}, {"transactions", transactions}, {"transform", transform},
		{"fencing", fencing}, {"administration", administration},
	} {
		switch err := c.check(); {
		case err == nil:
			fmt.Printf("%s\tok\n", c.name)
		case errors.Is(err, errUnsupported):
			fmt.Printf("%s\tunsupported\n", c.name)
		default:
			fmt.Printf("%s\terror %s\n", c.name, strings.ReplaceAll(err.Error(), "\n", " "))
		}
	}
}

func config() *sarama.Config {
	c := sarama.NewConfig()
	c.Version = sarama.MaxVersion
	if user := os.Getenv("CLIENT_USER"); user != "" { // by PLAIN: Sarama has no SCRAM of its own
		pem, err := os.ReadFile(os.Getenv("CLIENT_CA"))
		roots := x509.NewCertPool()
		if err != nil || !roots.AppendCertsFromPEM(pem) {
			fmt.Fprintln(os.Stderr, "no certificate:", err)
			os.Exit(1)
		}
		c.Net.TLS.Enable, c.Net.TLS.Config = true, &tls.Config{RootCAs: roots}
		c.Net.SASL.Enable, c.Net.SASL.User, c.Net.SASL.Password = true, user, os.Getenv("CLIENT_PASSWORD")
	}
	c.Producer.Return.Successes = true
	c.Producer.Partitioner = sarama.NewManualPartitioner
	c.Consumer.Offsets.Initial = sarama.OffsetOldest
	c.Consumer.Offsets.AutoCommit.Enable = false
	c.Consumer.IsolationLevel = sarama.ReadCommitted
	c.Consumer.MaxWaitTime = 50 * time.Millisecond
	c.Consumer.Group.Session.Timeout = 10 * time.Second
	c.Consumer.Group.Heartbeat.Interval = 500 * time.Millisecond
	return c
}

func topic(name string, n int32) (string, error) {
	name = "sarama-" + name
	retention := "1000000000000"
	return name, admin.CreateTopic(name, &sarama.TopicDetail{NumPartitions: n, ReplicationFactor: 1, ConfigEntries: map[string]*string{"retention.ms": &retention}}, false)
}

func messages(name string, values []string) (all []*sarama.ProducerMessage) {
	for i, v := range values {
		all = append(all, &sarama.ProducerMessage{Topic: name, Key: sarama.StringEncoder(strconv.Itoa(i)), Value: sarama.StringEncoder(v), Partition: int32(i % partitions)})
	}
	return all
}

func write(name string, values []string, adjust func(*sarama.Config)) error {
	c := config()
	if adjust != nil {
		adjust(c)
	}
	p, err := sarama.NewSyncProducer(at, c)
	if err != nil {
		return err
	}
	return errors.Join(p.SendMessages(messages(name, values)), p.Close())
}

// committed returns the n records that readers of committed records see.
func committed(name string, n int) (all []*sarama.ConsumerMessage, err error) {
	c, err := sarama.NewConsumer(at, config())
	if err != nil {
		return nil, err
	}
	defer c.Close()
	in := make(chan *sarama.ConsumerMessage)
	for p := range int32(partitions) {
		pc, err := c.ConsumePartition(name, p, sarama.OffsetOldest)
		if err != nil {
			return nil, err
		}
		defer pc.AsyncClose()
		go func() {
			for m := range pc.Messages() {
				in <- m
			}
		}()
	}
	for wait := 20 * time.Second; ; {
		select {
		case m := <-in:
			all = append(all, m)
			if len(all) == n {
				wait = time.Second // for one too many
			}
		case <-time.After(wait):
			if len(all) != n {
				return nil, fmt.Errorf("%d records, want %d", len(all), n)
			}
			return all, nil
		}
	}
}

func expectValues(name string, want []string) error {
	all, err := committed(name, len(want))
	if err != nil {
		return err
	}
	var have []string
	for _, m := range all {
		have = append(have, string(m.Value))
	}
	want = slices.Sorted(slices.Values(want))
	if slices.Sort(have); !slices.Equal(have, want) {
		return fmt.Errorf("values %v, want %v", have, want)
	}
	return nil
}

func produce() error {
	name, err := topic("produce", partitions)
	if err != nil {
		return err
	}
	p, err := sarama.NewSyncProducer(at, config())
	if err != nil {
		return err
	}
	defer p.Close()
	stamp := time.UnixMilli(1234567890123)
	_, _, err = p.SendMessage(&sarama.ProducerMessage{Topic: name, Key: sarama.StringEncoder("k"), Value: sarama.StringEncoder("v"),
		Headers: []sarama.RecordHeader{{Key: []byte("h"), Value: []byte("x")}}, Timestamp: stamp})
	if err != nil {
		return err
	}
	if _, _, err = p.SendMessage(&sarama.ProducerMessage{Topic: name, Key: sarama.StringEncoder("k")}); err != nil {
		return err
	}
	all, err := committed(name, 2)
	if err != nil {
		return err
	}
	m := all[0]
	if string(m.Key) != "k" || string(m.Value) != "v" || len(m.Headers) != 1 || string(m.Headers[0].Value) != "x" || !m.Timestamp.Equal(stamp) || all[1].Value != nil {
		return fmt.Errorf("records %+v, %+v", m, all[1])
	}
	return nil
}

func idempotent() error {
	name, err := topic("idempotent", partitions)
	if err != nil {
		return err
	}
	err = write(name, values, func(c *sarama.Config) {
		c.Producer.Idempotent, c.Net.MaxOpenRequests, c.Producer.RequiredAcks = true, 1, sarama.WaitForAll
	})
	return errors.Join(err, expectValues(name, values))
}

func compression() error {
	name, err := topic("compression", partitions)
	if err != nil {
		return err
	}
	var all []string
	for _, codec := range []sarama.CompressionCodec{sarama.CompressionGZIP, sarama.CompressionSnappy, sarama.CompressionLZ4, sarama.CompressionZSTD} {
		if err := write(name, values, func(c *sarama.Config) { c.Producer.Compression = codec }); err != nil {
			return fmt.Errorf("%s: %w", codec, err)
		}
		all = append(all, values...)
	}
	return expectValues(name, all)
}

// member is a consumer of a group.
type member struct {
	sync.Mutex
	group    sarama.ConsumerGroup
	session  sarama.ConsumerGroupSession
	assigned int
	read     []*sarama.ConsumerMessage
	stop     context.CancelFunc
	ended    chan error
}

func join(group, name string) (*member, error) {
	g, err := sarama.NewConsumerGroup(at, group, config())
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	m := &member{group: g, stop: stop, ended: make(chan error, 1)}
	go func() {
		var err error
		for ctx.Err() == nil && err == nil {
			err = g.Consume(ctx, []string{name}, m)
		}
		m.ended <- err
	}()
	return m, nil
}

func (m *member) leave() error {
	m.stop()
	return errors.Join(<-m.ended, m.group.Close())
}

func (m *member) Setup(s sarama.ConsumerGroupSession) error {
	m.Lock()
	defer m.Unlock()
	m.session, m.assigned = s, 0
	for _, claimed := range s.Claims() {
		m.assigned += len(claimed)
	}
	return nil
}

func (m *member) Cleanup(sarama.ConsumerGroupSession) error { return nil }

func (m *member) ConsumeClaim(s sarama.ConsumerGroupSession, c sarama.ConsumerGroupClaim) error {
	for {
		select {
		case r, ok := <-c.Messages():
			if !ok {
				return nil
			}
			m.Lock()
			m.read = append(m.read, r)
			m.Unlock()
		case <-s.Context().Done():
			return nil
		}
	}
}

func (m *member) state() (assigned int, read []*sarama.ConsumerMessage) {
	m.Lock()
	defer m.Unlock()
	return m.assigned, slices.Clone(m.read)
}

func until(what string, condition func() bool) error {
	for end := time.Now().Add(30 * time.Second); !condition(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			return fmt.Errorf("%s: not after 30 s", what)
		}
	}
	return nil
}

func group() error {
	name, err := topic("group", partitions)
	if err != nil {
		return err
	}
	if err := write(name, values, nil); err != nil {
		return err
	}
	a, err := join("g-"+name, name)
	if err != nil {
		return err
	}
	b, err := join("g-"+name, name)
	if err != nil {
		return err
	}
	err = until("two members with all records", func() bool {
		na, ra := a.state()
		nb, rb := b.state()
		distinct := make(map[string]bool)
		for _, r := range append(ra, rb...) {
			distinct[string(r.Value)] = true
		}
		return na > 0 && nb > 0 && na+nb == partitions && len(distinct) == len(values)
	})
	if err = errors.Join(err, b.leave()); err != nil {
		return err
	}
	if err := until("one member with all partitions", func() bool { n, _ := a.state(); return n == partitions }); err != nil {
		return err
	}
	for p := range int32(partitions) {
		a.session.MarkOffset(name, p, 15, "")
	}
	a.session.Commit()
	if err := a.leave(); err != nil {
		return err
	}
	c, err := join("g-"+name, name)
	if err != nil {
		return err
	}
	err = until("15 records", func() bool { _, r := c.state(); return len(r) >= 15 })
	_, read := c.state()
	for _, r := range read {
		if r.Offset < 15 {
			err = errors.Join(err, fmt.Errorf("read offset %d after a commit of 15", r.Offset))
		}
	}
	return errors.Join(err, c.leave())
}

func transactional(id string) (sarama.AsyncProducer, error) {
	c := config()
	c.Producer.Idempotent, c.Net.MaxOpenRequests, c.Producer.RequiredAcks, c.Producer.Transaction.ID = true, 1, sarama.WaitForAll, id
	return sarama.NewAsyncProducer(at, c)
}

func send(p sarama.AsyncProducer, name string, values []string) error {
	go func() {
		for _, m := range messages(name, values) {
			p.Input() <- m
		}
	}()
	for range values {
		select {
		case <-p.Successes():
		case err := <-p.Errors():
			return err
		}
	}
	return nil
}

func transactions() error {
	name, err := topic("transactions", partitions)
	if err != nil {
		return err
	}
	p, err := transactional("sarama-tx")
	if err != nil {
		return err
	}
	defer p.Close()
	for _, end := range []func() error{p.CommitTxn, p.AbortTxn, p.CommitTxn} {
		if err := errors.Join(p.BeginTxn(), send(p, name, values), end()); err != nil {
			return err
		}
	}
	return expectValues(name, append(slices.Clone(values), values...))
}

func transform() error {
	source, err := topic("source", partitions)
	if err != nil {
		return err
	}
	sink, err := topic("sink", partitions)
	if err != nil {
		return err
	}
	if err := write(source, values, nil); err != nil {
		return err
	}
	p, err := transactional("sarama-transform")
	if err != nil {
		return err
	}
	defer p.Close()
	for _, end := range []func() error{p.AbortTxn, p.CommitTxn} {
		offsets := make(map[string][]*sarama.PartitionOffsetMetadata)
		for n := range int32(partitions) {
			offsets[source] = append(offsets[source], &sarama.PartitionOffsetMetadata{Partition: n, Offset: 20})
		}
		if err := errors.Join(p.BeginTxn(), send(p, sink, values), p.AddOffsetsToTxn(offsets, "g-sarama-transform"), end()); err != nil {
			return err
		}
	}
	// Kafka completes a commit after it has answered.
	err = until("committed offsets of 20", func() bool {
		have, err := admin.ListConsumerGroupOffsets("g-sarama-transform", map[string][]int32{source: {0, 1, 2}})
		if err != nil {
			return false
		}
		for n := range int32(partitions) {
			if b := have.GetBlock(source, n); b == nil || b.Offset != 20 {
				return false
			}
		}
		return true
	})
	if err != nil {
		return err
	}
	return expectValues(sink, values)
}

func fencing() error {
	name, err := topic("fencing", partitions)
	if err != nil {
		return err
	}
	old, err := transactional("sarama-fenced")
	if err != nil {
		return err
	}
	defer old.Close()
	if err := errors.Join(old.BeginTxn(), send(old, name, []string{"old"})); err != nil {
		return err
	}
	now, err := transactional("sarama-fenced")
	if err != nil {
		return err
	}
	defer now.Close()
	if old.CommitTxn() == nil {
		return errors.New("the fenced producer committed")
	}
	if err := errors.Join(now.BeginTxn(), send(now, name, []string{"new"}), now.CommitTxn()); err != nil {
		return err
	}
	return expectValues(name, []string{"new"})
}

func administration() error {
	name, err := topic("admin", 2)
	if err != nil {
		return err
	}
	if err := admin.CreatePartitions(name, partitions, nil, false); err != nil {
		return err
	}
	// A broker of Kafka learns of new partitions after the controller has answered.
	err = until("describe all partitions", func() bool {
		described, err := admin.DescribeTopics([]string{name})
		return err == nil && len(described[0].Partitions) == partitions
	})
	if err != nil {
		return err
	}
	size := "12345"
	err = admin.IncrementalAlterConfig(sarama.TopicResource, name, map[string]sarama.IncrementalAlterConfigsEntry{
		"max.message.bytes": {Operation: sarama.IncrementalAlterConfigsOperationSet, Value: &size}}, false)
	if err != nil {
		return err
	}
	entries, err := admin.DescribeConfig(sarama.ConfigResource{Type: sarama.TopicResource, Name: name, ConfigNames: []string{"max.message.bytes"}})
	if err != nil || len(entries) != 1 || entries[0].Value != size {
		return fmt.Errorf("describe config: %+v, %w", entries, err)
	}
	if err := errors.Join(write(name, values, nil), admin.DeleteRecords(name, map[int32]int64{0: 5})); err != nil {
		return err
	}
	m, err := join("g-sarama-admin", name)
	if err != nil {
		return err
	}
	if err := until("55 records", func() bool { _, r := m.state(); return len(r) == 55 }); err != nil {
		return err
	}
	groups, err := admin.DescribeConsumerGroups([]string{"g-sarama-admin"})
	if err != nil || groups[0].State != "Stable" || len(groups[0].Members) != 1 {
		return fmt.Errorf("describe groups: %+v, %w", groups, err)
	}
	if err := m.leave(); err != nil {
		return err
	}
	listed, err := admin.ListConsumerGroups()
	if _, ok := listed["g-sarama-admin"]; !ok || err != nil {
		return fmt.Errorf("list groups: %v, %w", listed, err)
	}
	return errors.Join(admin.DeleteConsumerGroup("g-sarama-admin"), admin.DeleteTopic(name))
}
