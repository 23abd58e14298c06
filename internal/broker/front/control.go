package front

import (
	"errors"
	"fmt"
	"net"
	"reflect"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Controls registers functions that examine requests before kfake handles them.
//
// For each of its control functions, kfake keeps the last request of every connection, and with it
// the connection, even after the client has closed it: a broker would grow with each connection
// that it has ever had. It does so to run no function twice on a request that has slept in
// SleepControl (see Sleep). Controls drops requests that no function is still processing.
type Controls struct {
	cluster *kfake.Cluster
	byKey   reflect.Value // slices of kfake's *controlCtx
	last    []int         // field of a controlCtx: *clientReq by *clientConn
	request []int         // field of a clientReq

	identify func(user *string, conn net.Conn, req unsafe.Pointer) // see Identify
	client   []int                                                 // field of a clientReq: *clientConn
	conn     []int                                                 // field of a clientConn
	user     []int                                                 // field of a clientConn

	sleeping reflect.Value // *bsleep by *clientConn
	queue    []int         // field of a bsleep: requests
	mu       []int         // field of a bsleep, for queue
}

// NewControls returns an error if this version of kfake is not supported.
func NewControls(c *kfake.Cluster) (controls *Controls, err error) {
	defer func() {
		if problem := recover(); problem != nil { // of reflect
			err = fmt.Errorf("unsupported version of kfake: control functions: %v", problem)
		}
	}()
	byKey := reflect.ValueOf(c).Elem().FieldByName("control")
	last, foundLast := byKey.Type().Elem().Elem().Elem().FieldByName("lastReq")
	request, foundRequest := last.Type.Elem().Elem().FieldByName("kreq")
	if !foundLast || !foundRequest || byKey.Type().Key().Kind() != reflect.Int16 || request.Type != reflect.TypeFor[kmsg.Request]() {
		return nil, errors.New("unsupported version of kfake: control functions have other fields")
	}
	client, foundClient := last.Type.Elem().Elem().FieldByName("cc")
	conn, foundConn := client.Type.Elem().FieldByName("conn")
	user, foundUser := client.Type.Elem().FieldByName("user")
	if !foundClient || !foundConn || !foundUser || conn.Type != reflect.TypeFor[net.Conn]() || user.Type.Kind() != reflect.String {
		return nil, errors.New("unsupported version of kfake: connections have other fields")
	}
	sleeping := expose(reflect.ValueOf(c).Elem().FieldByName("sleeping"))
	queue, foundQueue := sleeping.Type().Elem().Elem().FieldByName("queue")
	mu, foundMu := sleeping.Type().Elem().Elem().FieldByName("mu")
	if !foundQueue || !foundMu || queue.Type.Kind() != reflect.Slice || mu.Type != reflect.TypeFor[sync.Mutex]() {
		return nil, errors.New("unsupported version of kfake: sleeping control functions have other fields")
	}
	return &Controls{
		cluster: c, byKey: byKey, last: last.Index, request: request.Index, sleeping: sleeping, queue: queue.Index, mu: mu.Index,
		client: client.Index, conn: conn.Index, user: user.Index,
	}, nil
}

// Identify calls fn before the functions of a request: with the name of the connection's user in
// kfake, which fn may change, the connection, and kfake's clientReq. It adds an empty function to
// the APIs that have none. Call it after the last Add.
func (c *Controls) Identify(fn func(user *string, conn net.Conn, req unsafe.Pointer)) {
	for key := range served() {
		if !c.byKey.MapIndex(reflect.ValueOf(key)).IsValid() {
			c.Add(kmsg.Key(key), func(kmsg.Request) (kmsg.Response, error, bool) { return nil, nil, false })
		}
	}
	c.identify = fn
}

// identifyClient calls identify for the connection of a request.
func (c *Controls) identifyClient(last reflect.Value, req kmsg.Request) {
	for each := last.MapRange(); each.Next(); {
		kept := each.Value().Elem()
		if kept.FieldByIndex(c.request).Elem().Pointer() != reflect.ValueOf(req).Pointer() {
			continue
		}
		client := kept.FieldByIndex(c.client).Elem()
		user := (*string)(client.FieldByIndex(c.user).Addr().UnsafePointer())
		conn := *(*net.Conn)(client.FieldByIndex(c.conn).Addr().UnsafePointer())
		c.identify(user, conn, each.Value().UnsafePointer())
		return
	}
}

// Add calls fn with every request of an API, after the functions added earlier. kfake runs all
// functions one at a time, except for those in Sleep. Call Add before the first request arrives.
func (c *Controls) Add(key kmsg.Key, fn Check) {
	var last reflect.Value
	var running atomic.Int32
	c.cluster.ControlKey(int16(key), func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.cluster.KeepControl() // otherwise kfake removes a function once it has answered
		if running.Add(1) == 1 && last.Len() > 1 {
			c.keepOnly(last, req)
		}
		defer running.Add(-1)
		if c.identify != nil {
			c.identifyClient(last, req)
		}
		return fn(req)
	})
	added := c.byKey.MapIndex(reflect.ValueOf(int16(key)))
	last = expose(added.Index(added.Len() - 1).Elem().FieldByIndex(c.last))
}

// keepOnly removes all requests but one. kfake accesses the map only between functions.
func (c *Controls) keepOnly(last reflect.Value, req kmsg.Request) {
	for each := last.MapRange(); each.Next(); {
		kept := each.Value().Elem().FieldByIndex(c.request)
		if kept.Elem().Pointer() != reflect.ValueOf(req).Pointer() {
			last.SetMapIndex(each.Key(), reflect.Value{})
		}
	}
}

// Sleep is kfake's SleepControl, for functions of Controls: it lets other requests pass until
// wakeup returns.
//
// kfake keeps an entry for each connection on which a request has slept, and serves the entry from
// a goroutine that exits after the last of its requests. If the connection's next request sleeps
// just before that, two goroutines serve it: a data race, after which the broker may wait for the
// request twice, and hang. Sleep drops entries without requests, so that the next request gets
// another one.
func (c *Controls) Sleep(wakeup func()) {
	for each := c.sleeping.MapRange(); each.Next(); {
		entry := each.Value().Elem()
		mu := (*sync.Mutex)(entry.FieldByIndex(c.mu).Addr().UnsafePointer())
		mu.Lock()
		none := entry.FieldByIndex(c.queue).Len() == 0
		mu.Unlock()
		if none {
			c.sleeping.SetMapIndex(each.Key(), reflect.Value{})
		}
	}
	c.cluster.SleepControl(wakeup)
}

// expose returns an unexported field in a form that can be read and set.
func expose(v reflect.Value) reflect.Value {
	return reflect.NewAt(v.Type(), unsafe.Pointer(v.UnsafeAddr())).Elem() //nolint:gosec // the types of fields are checked
}
