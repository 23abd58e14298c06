package embedded

import (
	"errors"
	"math"
	"reflect"
	"time"
	"unsafe"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// kfake's groups have bugs that leave partitions unread.
//
//   - The session timer of a new member starts with the response to its JoinGroup. A member whose
//     connection closes before that, for example because its process is killed while it joins, gets
//     no timer. If another member leads the group, the leader then assigns it partitions, kfake
//     loses track of its pending SyncGroup, and it keeps them forever. So each SyncGroup starts the
//     sessions of the other members whose SyncGroup is outstanding, and the leader's starts those
//     of all other members.
//   - The timer of a member runs while it waits for a JoinGroup or SyncGroup response, during which
//     clients send no heartbeats. If the others take longer than its session timeout, it is
//     expelled and never gets a response. So the sessions of waiting members are extended by the
//     rebalance timeout.
//   - The number of members waiting for a JoinGroup response is decremented when a member that
//     waits for a SyncGroup response is removed, but not incremented if that member joins again
//     instead. The rebalance then completes only at its timeout, which each JoinGroup restarts. So
//     the waiting members are recounted before each JoinGroup.
//
// In Kafka, a session begins with the response to a request; there is none before that.

// kfakeUpdateHeartbeat restarts the session timer of a *groupMember. It must run in kfake's loop.
//
//go:linkname kfakeUpdateHeartbeat github.com/twmb/franz-go/pkg/kfake.(*group).updateHeartbeat
func kfakeUpdateHeartbeat(group, member unsafe.Pointer)

// members gives access to the members of kfake's groups.
type members struct {
	loop   *loop
	groups reflect.Value // map of names to *group
}

func newMembers(l *loop) (m *members, err error) {
	defer catchUnknown(&err)
	m = &members{loop: l, groups: reach(reflect.ValueOf(l.cluster).Elem().FieldByName("groups").FieldByName("gs"))}
	group := m.groups.Type().Elem().Elem()
	member := field(group, "members").Elem().Elem()
	if field(group, "pendingSyncIDs") != reflect.TypeFor[map[string]struct{}]() || field(group, "nJoining").Kind() != reflect.Int || field(group, "leader").Kind() != reflect.String || field(group, "generation").Kind() != reflect.Int32 ||
		field(member, "t") != reflect.TypeFor[*time.Timer]() || field(member, "join") != reflect.TypeFor[*kmsg.JoinGroupRequest]() ||
		field(field(member, "waitingReply").Elem(), "kreq") != reflect.TypeFor[kmsg.Request]() {
		return nil, errors.New("unsupported version of kfake: group or groupMember has other fields")
	}
	return m, nil
}

// onSyncGroup starts the sessions of the members that the sender waits for: all whose SyncGroup is
// outstanding. The sender itself may wait longer. The leader's request ends the wait for all of
// them.
func (m *members) onSyncGroup(kreq kmsg.Request) (kmsg.Response, error, bool) { //nolint:revive // kfake's signature
	if req, ok := kreq.(*kmsg.SyncGroupRequest); ok {
		m.in(req.Group, func(group reflect.Value, all map[string]reflect.Value) {
			if int64(req.Generation) != group.Elem().FieldByName("generation").Int() {
				return // it is rejected and does not end the wait
			}
			pending := *(*map[string]struct{})(group.Elem().FieldByName("pendingSyncIDs").Addr().UnsafePointer())
			leads := group.Elem().FieldByName("leader").String() == req.MemberID
			for id, member := range all {
				_, yet := pending[id]
				switch {
				case id != req.MemberID && (yet || leads):
					kfakeUpdateHeartbeat(group.UnsafePointer(), member.UnsafePointer())
				case id == req.MemberID && yet && !leads:
					lengthen(group, member, joinOf(member).RebalanceTimeoutMillis)
				}
			}
		})
	}
	return nil, nil, false
}

// onJoinGroup extends the sessions of the joining member and of all members that have joined and
// are waiting: each JoinGroup may restart the rebalance timeout. It recounts the waiting members.
func (m *members) onJoinGroup(kreq kmsg.Request) (kmsg.Response, error, bool) { //nolint:revive // kfake's signature
	if req, ok := kreq.(*kmsg.JoinGroupRequest); ok {
		m.in(req.Group, func(group reflect.Value, all map[string]reflect.Value) {
			joining := 0
			for id, member := range all {
				waits := awaits(member)
				if _, sync := waits.(*kmsg.SyncGroupRequest); sync && id == req.MemberID {
					reach(member.Elem().FieldByName("waitingReply")).SetZero() // it has abandoned that request
				}
				if _, join := waits.(*kmsg.JoinGroupRequest); join {
					joining++
				}
				if waits != nil || id == req.MemberID {
					lengthen(group, member, max(req.RebalanceTimeoutMillis, joinOf(member).RebalanceTimeoutMillis))
				}
			}
			reach(group.Elem().FieldByName("nJoining")).SetInt(int64(joining))
		})
	}
	return nil, nil, false
}

// awaits returns the request whose response a member waits for, or nil.
func awaits(member reflect.Value) kmsg.Request {
	waiting := member.Elem().FieldByName("waitingReply")
	if waiting.IsNil() {
		return nil
	}
	return *(*kmsg.Request)(waiting.Elem().FieldByName("kreq").Addr().UnsafePointer())
}

func joinOf(member reflect.Value) *kmsg.JoinGroupRequest {
	return *(**kmsg.JoinGroupRequest)(member.Elem().FieldByName("join").Addr().UnsafePointer())
}

// lengthen restarts the session timer of a member, extended by more milliseconds.
func lengthen(group, member reflect.Value, more int32) {
	join := joinOf(member)
	session := join.SessionTimeoutMillis
	join.SessionTimeoutMillis += min(more, math.MaxInt32-session)
	kfakeUpdateHeartbeat(group.UnsafePointer(), member.UnsafePointer())
	join.SessionTimeoutMillis = session
}

// in calls fn, in kfake's loop, with the *group of that name and its members by id.
func (m *members) in(name string, fn func(group reflect.Value, all map[string]reflect.Value)) {
	m.loop.do(func() {
		group := m.groups.MapIndex(reflect.ValueOf(name))
		if !group.IsValid() {
			return
		}
		all := make(map[string]reflect.Value)
		for each := reach(group.Elem().FieldByName("members")).MapRange(); each.Next(); {
			all[each.Key().String()] = each.Value()
		}
		fn(group, all)
	})
}
