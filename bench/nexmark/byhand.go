package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/broker"
)

// byHand is q1 as one would write it for these records alone: it finds the fields of a bid in the
// bytes, without checking that they are JSON.
func byHand(ctx context.Context, brokers, sink string) error {
	config := broker.Config{Brokers: []string{brokers}, ClientID: "weir-bench"}
	client, err := broker.Connect(ctx, config)
	if err != nil {
		return err
	}
	ends, err := kadm.NewClient(client).ListCommittedOffsets(ctx, source)
	client.Close()
	if err != nil {
		return fmt.Errorf("list the ends of %s: %w", source, err)
	}
	session, err := kgo.NewGroupTransactSession(kgo.SeedBrokers(brokers), kgo.TransactionalID(sink), kgo.ConsumerGroup(sink), kgo.ConsumeTopics(source),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.DefaultProduceTopic(sink), kgo.MaxBufferedRecords(100_000), kgo.ProducerBatchCompression(kgo.NoCompression()))
	if err != nil {
		return err
	}
	defer session.Close()
	left := int64(0)
	ends.Each(func(o kadm.ListedOffset) { left += o.Offset })
	for left > 0 {
		if err := session.Begin(); err != nil {
			return err
		}
		var failed kgo.FirstErrPromise
		for until := time.Now().Add(commit); left > 0 && time.Now().Before(until); {
			fetches := session.PollFetches(ctx)
			if err := fetches.Err(); err != nil {
				return err
			}
			fetches.EachRecord(func(r *kgo.Record) {
				left--
				if value := q1(make([]byte, 0, 320), r.Value); value != nil {
					session.Produce(ctx, &kgo.Record{Value: value}, failed.Promise())
				}
			})
		}
		committed, err := session.End(ctx, kgo.TryCommit)
		if err := errors.Join(err, failed.Err()); err != nil || !committed {
			return fmt.Errorf("commit: %t, %w", committed, err)
		}
	}
	return nil
}

// q1 appends the result for an event; nil for what is not a bid.
func q1(dst, event []byte) []byte {
	if !bytes.HasPrefix(event, []byte(`{"event_type":2,`)) {
		return nil
	}
	_, bid, _ := bytes.Cut(event, []byte(`"bid":{`))
	field := func(name string, end byte) []byte {
		at := bytes.Index(bid, []byte(name)) + len(name)
		return bid[at : at+bytes.IndexByte(bid[at:], end)]
	}
	price, err := strconv.ParseInt(string(field(`"price":`, ',')), 10, 64)
	if err != nil {
		return nil
	}
	dst = append(append(dst, `{"auction":`...), field(`"auction":`, ',')...)
	dst = append(append(dst, `,"bidder":`...), field(`"bidder":`, ',')...)
	dst = append(dst, `,"price":`...)
	dst = appendThousandths(dst, 908*price)
	at, extra := field(`"dateTime":"`, '"'), field(`"extra":"`, '"')
	dst = append(append(dst, `,"dateTime":"`...), bytes.TrimRight(bytes.TrimRight(at, "0"), ".")...)
	dst = append(append(dst, `","extra":"`...), extra...)
	return append(dst, `"}`...)
}

// appendThousandths appends a number of thousandths with three digits after the point.
func appendThousandths(dst []byte, n int64) []byte {
	dst = append(strconv.AppendInt(dst, n/1000, 10), '.')
	for unit := int64(100); unit > 0; unit /= 10 {
		dst = append(dst, '0'+byte(n/unit%10))
	}
	return dst
}
