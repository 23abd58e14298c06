package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// watchOne scrapes the metrics every second, and acts as one page with a pipeline and a live
// preview.
func watchOne(ctx context.Context, at addresses) error {
	all, ctx := errgroup.WithContext(ctx)
	all.Go(func() error { return scrape(ctx, at.admin+"/metrics") })
	all.Go(func() error {
		seen, err := page(ctx, at.console, "overview", "pipeline:device-stats", "tail:device_stats")
		if err == nil && (seen["overview"] == 0 || seen["pipeline"] == 0 || seen["tail"] == 0) {
			return fmt.Errorf("the page did not receive everything that it watches: %v", seen)
		}
		return err
	})
	return all.Wait()
}

func scrape(ctx context.Context, url string) error {
	for n := 0; ; n++ {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
		if err != nil {
			return err
		}
		if resp, err := http.DefaultClient.Do(req); err == nil {
			_, _ = io.Copy(io.Discard, resp.Body) // it may be about to stop
			_ = resp.Body.Close()
		} else if n == 0 && ctx.Err() == nil {
			return fmt.Errorf("scrape: %w", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Second):
		}
	}
}

// page reads a stream to its end, and returns the number of frames of each kind.
func page(ctx context.Context, console string, watch ...string) (map[string]int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, console+"/api/events?watch="+strings.Join(watch, "&watch="), http.NoBody)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("open a page: %w", err)
	}
	defer resp.Body.Close()
	seen := make(map[string]int)
	lines := bufio.NewReader(resp.Body)
	for {
		line, err := lines.ReadString('\n')
		if kind, ok := strings.CutPrefix(line, "event: "); ok {
			seen[strings.TrimSpace(kind)]++
		}
		if err != nil {
			return seen, nil // weir has stopped
		}
	}
}

// crowd returns a watcher that opens that many pages, all watching everything: every other one
// never reads, the rest read a kilobyte per second. A page that is disconnected reconnects.
func crowd(pages int) func(context.Context, addresses) error {
	return func(ctx context.Context, at addresses) error {
		all, ctx := errgroup.WithContext(ctx)
		var open atomic.Int64
		for i := range pages {
			all.Go(func() error {
				for ctx.Err() == nil {
					linger(ctx, strings.TrimPrefix(at.console, "http://"), i%2 == 0, &open)
				}
				return nil
			})
		}
		err := all.Wait()
		if got := open.Load(); err == nil && got < int64(pages) {
			err = fmt.Errorf("%d of %d pages were opened", got, pages)
		}
		return err
	}
}

// patience is longer than the console waits for a page that does not read.
const patience = 20 * time.Second

// linger is a page that hardly reads, until it is disconnected.
func linger(ctx context.Context, host string, never bool, open *atomic.Int64) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", host)
	if err != nil {
		time.Sleep(50 * time.Millisecond)
		return
	}
	defer func() { _ = conn.Close() }()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	_ = conn.(*net.TCPConn).SetReadBuffer(4096)
	_, err = fmt.Fprintf(conn, "GET /api/events?watch=overview&watch=pipeline:device-stats&watch=tail:device_stats&watch=topics HTTP/1.1\r\nHost: %s\r\n\r\n", host)
	if err != nil {
		return
	}
	open.Add(1)
	buffer := make([]byte, 1024)
	for range int(patience / time.Second) {
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Second):
		}
		if !never {
			if _, err := conn.Read(buffer); err != nil {
				return
			}
		}
	}
}
