package embedded

import (
	"errors"
	"math"
	"reflect"
	"time"
	"unsafe"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// kfake's session timers of group members have two faults.
//
// It starts the timer of a new member when it has answered the member's JoinGroup. A member whose
// connection closes before, as when its process is killed while it joins, gets no timer. Where
// another member is the group's leader, the leader then gives it partitions, kfake forgets that it
// has yet to ask for them, and it keeps them for good. So whoever has yet to send SyncGroup when
// another member does has a session from then on.
//
// It lets the timer of an older member run while the member waits for the answer to its JoinGroup,
// during which clients send no heartbeat. Where the others take longer to join than its session
// timeout, it is expelled, and its JoinGroup is never answered. So members that join have a session
// until the rebalance has timed out, too.
//
// In Kafka a session begins when a JoinGroup is answered, and there is none before.

// kfakeUpdateHeartbeat starts the session timer of a *groupMember again. It is for kfake's own
// loop.
//
//go:linkname kfakeUpdateHeartbeat github.com/twmb/franz-go/pkg/kfake.(*group).updateHeartbeat
func kfakeUpdateHeartbeat(group, member unsafe.Pointer)

// members are those of kfake's groups.
type members struct {
	loop   *loop
	groups reflect.Value // map of names to *group
}

func newMembers(l *loop) (m *members, err error) {
	defer catchUnknown(&err)
	m = &members{loop: l, groups: reach(reflect.ValueOf(l.cluster).Elem().FieldByName("groups").FieldByName("gs"))}
	group := m.groups.Type().Elem().Elem()
	member := field(group, "members").Elem().Elem()
	if field(group, "pendingSyncIDs") != reflect.TypeFor[map[string]struct{}]() || field(member, "t") != reflect.TypeFor[*time.Timer]() ||
		field(member, "join") != reflect.TypeFor[*kmsg.JoinGroupRequest]() || field(member, "waitingReply").Kind() != reflect.Pointer {
		return nil, errors.New("this version of kfake is not the one that weir knows: group or groupMember has other fields")
	}
	return m, nil
}

// onSyncGroup starts the sessions of all who have yet to send the same.
func (m *members) onSyncGroup(kreq kmsg.Request) (kmsg.Response, error, bool) { //nolint:revive // kfake's signature
	if req, ok := kreq.(*kmsg.SyncGroupRequest); ok {
		m.each(req.Group, func(group, member reflect.Value, id string) {
			pending := reach(group.Elem().FieldByName("pendingSyncIDs"))
			if id != req.MemberID && pending.MapIndex(reflect.ValueOf(id)).IsValid() {
				kfakeUpdateHeartbeat(group.UnsafePointer(), member.UnsafePointer())
			}
		})
	}
	return nil, nil, false
}

// onJoinGroup lengthens the sessions of the member that joins and of all who have joined before and
// wait: each JoinGroup may begin the rebalance timeout again.
func (m *members) onJoinGroup(kreq kmsg.Request) (kmsg.Response, error, bool) { //nolint:revive // kfake's signature
	if req, ok := kreq.(*kmsg.JoinGroupRequest); ok {
		m.each(req.Group, func(group, member reflect.Value, id string) {
			if id != req.MemberID && member.Elem().FieldByName("waitingReply").IsNil() {
				return
			}
			join := *(**kmsg.JoinGroupRequest)(member.Elem().FieldByName("join").Addr().UnsafePointer())
			session := join.SessionTimeoutMillis
			rebalance := max(req.RebalanceTimeoutMillis, join.RebalanceTimeoutMillis)
			join.SessionTimeoutMillis += min(rebalance, math.MaxInt32-session)
			kfakeUpdateHeartbeat(group.UnsafePointer(), member.UnsafePointer())
			join.SessionTimeoutMillis = session
		})
	}
	return nil, nil, false
}

// each calls fn, in kfake's loop, with the *group of a name and each *groupMember and its id.
func (m *members) each(name string, fn func(group, member reflect.Value, id string)) {
	m.loop.do(func() {
		group := m.groups.MapIndex(reflect.ValueOf(name))
		if !group.IsValid() {
			return
		}
		for all := reach(group.Elem().FieldByName("members")).MapRange(); all.Next(); {
			fn(group, all.Value(), all.Key().String())
		}
	})
}
