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
//   - A response that cannot be sent, because the member's connection is closed, starts no session.
//     A member that died while it waited would keep its extended session, and the rebalance would
//     wait for its timeout. So extended sessions are replaced by usual ones once the member no
//     longer waits.
//
// In Kafka, a session begins with the response to a request; there is none before that.

// kfakeUpdateHeartbeat restarts the session timer of a *groupMember. It must run in kfake's loop.
//
//go:linkname kfakeUpdateHeartbeat github.com/twmb/franz-go/pkg/kfake.(*group).updateHeartbeat
func kfakeUpdateHeartbeat(group, member unsafe.Pointer)

// members gives access to the members of kfake's groups.
type members struct {
	loop     *loop
	groups   reflect.Value              // map of names to *group
	extended map[string]map[string]bool // members with extended sessions, by group and id; accessed in kfake's loop
}

// extendedCheck is how often extended sessions are looked at, as long as there are any.
const extendedCheck = 200 * time.Millisecond

func newMembers(l *loop) (m *members, err error) {
	defer catchUnknown(&err)
	m = &members{
		loop: l, groups: reach(reflect.ValueOf(l.cluster).Elem().FieldByName("groups").FieldByName("gs")),
		extended: make(map[string]map[string]bool),
	}
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
					m.extend(req.Group, id, group, member, joinOf(member).RebalanceTimeoutMillis)
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
					m.extend(req.Group, id, group, member, max(req.RebalanceTimeoutMillis, joinOf(member).RebalanceTimeoutMillis))
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

// extend restarts the session timer of a member that is going to wait, extended by more
// milliseconds.
func (m *members) extend(name, id string, group, member reflect.Value, more int32) {
	join := joinOf(member)
	session := join.SessionTimeoutMillis
	join.SessionTimeoutMillis += min(more, math.MaxInt32-session)
	kfakeUpdateHeartbeat(group.UnsafePointer(), member.UnsafePointer())
	join.SessionTimeoutMillis = session
	if len(m.extended) == 0 {
		time.AfterFunc(extendedCheck, m.endExtended)
	}
	if m.extended[name] == nil {
		m.extended[name] = make(map[string]bool)
	}
	m.extended[name][id] = true
}

// endExtended starts the usual sessions of the members that no longer wait. A member must have been
// found so twice: its request may be about to be handled.
func (m *members) endExtended() {
	m.loop.do(func() {
		for name, ids := range m.extended {
			group, all := m.group(name)
			for id, waited := range ids {
				member, exists := all[id]
				switch {
				case exists && (waited || awaits(member) != nil):
					ids[id] = awaits(member) != nil
					continue
				case exists:
					kfakeUpdateHeartbeat(group.UnsafePointer(), member.UnsafePointer())
				}
				delete(ids, id)
			}
			if len(ids) == 0 {
				delete(m.extended, name)
			}
		}
		if len(m.extended) > 0 {
			time.AfterFunc(extendedCheck, m.endExtended)
		}
	})
}

// in calls fn, in kfake's loop, with the *group of that name and its members by id.
func (m *members) in(name string, fn func(group reflect.Value, all map[string]reflect.Value)) {
	m.loop.do(func() {
		if group, all := m.group(name); all != nil {
			fn(group, all)
		}
	})
}

// group returns the *group of that name and its members by id, or nil if there is none.
func (m *members) group(name string) (group reflect.Value, all map[string]reflect.Value) {
	group = m.groups.MapIndex(reflect.ValueOf(name))
	if !group.IsValid() {
		return group, nil
	}
	all = make(map[string]reflect.Value)
	for each := reach(group.Elem().FieldByName("members")).MapRange(); each.Next(); {
		all[each.Key().String()] = each.Value()
	}
	return group, all
}
