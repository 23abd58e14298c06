package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/guard"
	"weir.example/weir/internal/tlsconf"
)

// firstStart is what weir up --secure-listen has made in the data directory.
type firstStart struct {
	dataDir   string
	hosts     []string     // of the certificate
	authority string       // file with the certificate that clients trust; "" if it is the user's
	user      *guard.First // nil: there were users
}

// secureListen makes the certificate to serve, unless the user names one, and the first user of the
// data directory.
func (u *upCommand) secureListen() error {
	serve := &u.admins.serve
	switch {
	case len(u.kafka.config.Brokers) > 0:
		return usage(errors.New("--secure-listen adds a user to the embedded broker: leave out --brokers, or use --listen-cert and --console-token-file"))
	case serve.insecure:
		return usage(errors.New("--secure-listen and --insecure-listen exclude each other"))
	}
	u.first.dataDir = u.kafka.dataDir
	if serve.cert == "" && serve.key == "" {
		u.first.hosts = u.hosts()
		own, err := tlsconf.OpenOwnServer(u.first.tlsDir(), u.first.hosts, time.Now())
		if err != nil {
			return err
		}
		u.first.authority, serve.cert, serve.key = own.Authority, own.CertFile, own.KeyFile
	}
	var err error
	u.first.user, err = guard.AddFirst(u.kafka.dataDir)
	return err
}

func (f *firstStart) tlsDir() string { return filepath.Join(f.dataDir, "tls") }

// renew keeps the certificate valid until end is called.
func (f *firstStart) renew(ctx context.Context, log *slog.Logger) (end func()) {
	if f.authority == "" {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	tick := time.NewTicker(tlsconf.RenewEvery)
	var keeping sync.WaitGroup
	keeping.Go(func() { tlsconf.KeepOwnServer(ctx, f.tlsDir(), f.hosts, tick.C, log) })
	return func() {
		cancel()
		keeping.Wait()
		tick.Stop()
	}
}

// hosts returns the names and addresses at which clients may reach this process.
func (u *upCommand) hosts() []string {
	hosts := []string{"localhost", "127.0.0.1", "::1"}
	if name, err := os.Hostname(); err == nil {
		hosts = append(hosts, name)
	}
	hosts = append(hosts, u.admins.serve.hosts...)
	for _, address := range []string{u.announce, u.listen, u.console.listen, u.admins.listen, u.registry, u.http, u.mqtt} {
		host, _, err := net.SplitHostPort(address) // "none" is no address, and wrong ones are refused elsewhere
		ip, _ := netip.ParseAddr(host)
		if err == nil && host != "" && !ip.IsUnspecified() {
			hosts = append(hosts, host)
		}
	}
	slices.Sort(hosts)
	return slices.Compact(hosts)
}

// finish gives the first user its ACLs, and prints its password.
func (f *firstStart) finish(ctx context.Context, at broker.Config, out io.Writer) error {
	if f.user == nil {
		return nil
	}
	client, err := broker.Connect(ctx, at)
	if err != nil {
		return err
	}
	defer client.Close()
	if err := createRole(ctx, client, f.user.User, ""); err != nil {
		return fmt.Errorf("create the ACLs of user %q: %w", f.user.User.Name, err)
	}
	return f.user.Show(func() error {
		text := fmt.Sprintf("First start: user %s, password %s\n  It is stored nowhere. weir users rotate %s --data-dir %s gives the user another one.\n",
			f.user.User.Name, f.user.Password, f.user.User.Name, f.dataDir)
		if f.authority != "" {
			text += fmt.Sprintf("  Clients trust the certificate with %s.\n", f.authority)
		}
		_, err := io.WriteString(out, text)
		return err
	})
}
