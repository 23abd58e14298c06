package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

const connections = 50

// load is what is published.
type load struct {
	messages int           // of all connections
	window   int           // in flight of each connection
	rate     int           // messages per second of all; 0: as fast as they are acknowledged
	kills    int           // of the process, evenly distributed
	batch    int           // messages in a request by HTTP
	warm     time.Duration // whose messages are not timed

	during func(context.Context) error // called meanwhile; default nothing
}

// result is what a load did.
type result struct {
	took           time.Duration // until the last message was committed
	cpu            time.Duration
	between        time.Duration // CPU time of mosquitto
	peakKB         int64
	lost, repeated int
	acks, commits  []time.Duration
	offered        float64 // messages per second
}

// times are the moments of the messages of a device, in nanoseconds since the measurement began.
type times struct{ sent, acked []atomic.Int64 }

// publish publishes a load, and waits until all of it is committed, or nothing more comes.
func (t *trial) publish(ctx context.Context, l load) (*result, error) {
	each := l.messages / connections
	all := make([]*times, connections)
	for i := range all {
		all[i] = &times{make([]atomic.Int64, each), make([]atomic.Int64, each)}
	}
	began := time.Now()
	reading, stopReading := context.WithCancel(ctx)
	defer stopReading()
	read := make(chan error, 1)
	r := newReader(all, began)
	go func() { read <- r.run(reading, t.brokers, t.topic) }()
	before, _, err := t.used()
	if err != nil {
		return nil, err
	}
	betweenBefore, err := t.usedBetween()
	if err != nil {
		return nil, err
	}
	var acked atomic.Int64
	group, publishing := errgroup.WithContext(ctx)
	for i := range all {
		group.Go(func() error {
			p := &publisher{device: i, address: t.address, times: all[i], load: &l, began: began, acked: &acked}
			if t.http {
				return p.http(publishing)
			}
			return p.mqtt(publishing)
		})
	}
	killing, stopKilling := context.WithCancel(publishing)
	var killer sync.WaitGroup
	var failed error
	killer.Go(func() {
		for k := range l.kills {
			for acked.Load() < int64(each*connections*(k+1)/(l.kills+1)) {
				if killing.Err() != nil {
					return
				}
				time.Sleep(time.Millisecond)
			}
			if failed = t.killAndRestart(ctx); failed != nil {
				return
			}
		}
	})
	if l.during != nil {
		killer.Go(func() { failed = l.during(killing) })
	}
	err = group.Wait()
	offered := time.Since(began)
	stopKilling()
	killer.Wait()
	if err := errors.Join(err, failed); err != nil {
		return nil, err
	}
	if err := r.wait(ctx, each*connections); err != nil {
		return nil, err
	}
	out := &result{took: time.Duration(r.last.Load()), offered: float64(each*connections) / offered.Seconds()}
	after, peak, err := t.used()
	if err != nil {
		return nil, err
	}
	between, err := t.usedBetween()
	if err != nil {
		return nil, err
	}
	out.cpu, out.between, out.peakKB = after-before, between-betweenBefore, peak
	stopReading()
	if err := <-read; err != nil && !errors.Is(err, context.Canceled) {
		return nil, err
	}
	for i, times := range all {
		for n := range each {
			if seen := r.seen[i][n]; seen == 0 {
				out.lost++
			} else {
				out.repeated += int(seen) - 1
			}
			sent := times.sent[n].Load()
			if sent < int64(l.warm) {
				continue
			}
			out.acks = append(out.acks, time.Duration(times.acked[n].Load()-sent))
			if r.seen[i][n] > 0 {
				out.commits = append(out.commits, time.Duration(r.first[i][n]-sent))
			}
		}
	}
	return out, nil
}

func quantile(all []time.Duration, q float64) time.Duration {
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return all[int(q*float64(len(all)-1))]
}

// publisher is a device.
type publisher struct {
	device  int
	address string
	times   *times
	load    *load
	began   time.Time
	acked   *atomic.Int64

	next   int         // number of the next new message
	flying map[int]int // number by packet identifier
}

// due waits until the next message may be sent.
func (p *publisher) due(ctx context.Context) error {
	if p.load.rate == 0 {
		return ctx.Err()
	}
	at := p.began.Add(time.Duration(float64(p.next)*connections/float64(p.load.rate)*1e9) + time.Duration(p.device)*time.Second/time.Duration(p.load.rate))
	if wait := time.Until(at); wait > 0 {
		time.Sleep(wait)
	}
	return ctx.Err()
}

func (p *publisher) since() int64 { return int64(time.Since(p.began)) }

func (p *publisher) done(n int) {
	p.times.acked[n].Store(p.since())
	p.acked.Add(1)
}

// mqtt publishes by MQTT 3.1.1 with QoS 1, over new connections if it has to.
func (p *publisher) mqtt(ctx context.Context) error {
	p.flying = make(map[int]int)
	for end := time.Now().Add(10 * time.Minute); ; {
		err := p.session(ctx)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if time.Now().After(end) {
			return fmt.Errorf("device %d: %w", p.device, err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// session publishes over one connection until everything is acknowledged.
func (p *publisher) session(ctx context.Context) error {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", p.address)
	if err != nil {
		return err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	in := bufio.NewReader(conn)
	id := fmt.Sprintf("device-%d", p.device)
	connect := append([]byte{0x10, byte(12 + len(id)), 0, 4, 'M', 'Q', 'T', 'T', 4, 0, 0, 0, 0, byte(len(id))}, id...)
	if _, err := conn.Write(connect); err != nil {
		return err
	}
	var connack [4]byte
	if _, err := io.ReadFull(in, connack[:]); err != nil {
		return err
	}
	if connack[3] != 0 {
		return fmt.Errorf("CONNACK %d", connack[3])
	}
	var mu sync.Mutex // guards flying
	room := make(chan struct{}, p.load.window)
	acks := make(chan error, 1)
	again := make([]int, 0, len(p.flying))
	for packet := range p.flying {
		again = append(again, packet)
	}
	slices.SortFunc(again, func(a, b int) int { return p.flying[a] - p.flying[b] })
	go func() {
		for {
			var ack [4]byte
			if _, err := io.ReadFull(in, ack[:]); err != nil {
				acks <- err
				return
			}
			packet := int(binary.BigEndian.Uint16(ack[2:]))
			mu.Lock()
			n, known := p.flying[packet]
			delete(p.flying, packet)
			mu.Unlock()
			if known {
				p.done(n)
				<-room
			}
		}
	}()
	var b bytes.Buffer
	for _, packet := range again { // before the first new message
		room <- struct{}{}
		p.encode(&b, packet, p.flying[packet], true)
	}
	if _, err := conn.Write(b.Bytes()); err != nil {
		return errors.Join(err, p.ended(conn, acks))
	}
	for p.next < len(p.times.sent) {
		if err := p.due(ctx); err != nil {
			return err
		}
		select {
		case room <- struct{}{}:
		case err := <-acks:
			return err
		}
		n, packet := p.next, p.next%60_000+1
		p.next++
		mu.Lock()
		p.flying[packet] = n
		mu.Unlock()
		p.times.sent[n].Store(p.since())
		b.Reset()
		p.encode(&b, packet, n, false)
		if _, err := conn.Write(b.Bytes()); err != nil {
			return errors.Join(err, p.ended(conn, acks))
		}
	}
	for range p.load.window { // all are acknowledged once the window is empty
		select {
		case room <- struct{}{}:
		case err := <-acks:
			return err
		}
	}
	return nil
}

// ended closes a connection, and waits for the end of its reader.
func (p *publisher) ended(conn net.Conn, acks <-chan error) error {
	return errors.Join(conn.Close(), <-acks)
}

// encode appends a PUBLISH.
func (p *publisher) encode(b *bytes.Buffer, packet, n int, again bool) {
	topic, payload := fmt.Sprintf("site/d%d/n", p.device), fmt.Sprintf(`{"n":%d}`, n)
	head := byte(0x32)
	if again {
		head |= 8
	}
	b.Write([]byte{head, byte(4 + len(topic) + len(payload)), 0, byte(len(topic))})
	b.WriteString(topic)
	b.Write([]byte{byte(packet >> 8), byte(packet)})
	b.WriteString(payload)
}

// http publishes readings, a batch in each request, and repeats a request until it is acknowledged.
func (p *publisher) http(ctx context.Context) error {
	client := &http.Client{Timeout: 35 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 1}}
	defer client.CloseIdleConnections()
	for p.next < len(p.times.sent) {
		first := p.next
		p.next = min(first+p.load.batch, len(p.times.sent)) - 1
		if err := p.due(ctx); err != nil {
			return err
		}
		p.next++
		body := []byte("[")
		for n := first; n < p.next; n++ {
			p.times.sent[n].Store(p.since())
			body = fmt.Appendf(body, `{"device_id":"d%d","sensor":"n","value":%d},`, p.device, n)
		}
		body[len(body)-1] = ']'
		for {
			r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+p.address+"/v1/readings", bytes.NewReader(body))
			if err != nil {
				return err
			}
			r.Header.Set("Idempotency-Key", fmt.Sprintf("%d-%d", p.device, first))
			answer, err := client.Do(r)
			if err == nil {
				_, _ = io.Copy(io.Discard, answer.Body)
				_ = answer.Body.Close()
				if answer.StatusCode < 300 {
					break
				}
				if answer.StatusCode < 500 && answer.StatusCode != http.StatusTooManyRequests && answer.StatusCode != http.StatusConflict {
					return fmt.Errorf("device %d: %s", p.device, answer.Status)
				}
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
			time.Sleep(5 * time.Millisecond)
		}
		for n := first; n < p.next; n++ {
			p.done(n)
		}
	}
	return nil
}
