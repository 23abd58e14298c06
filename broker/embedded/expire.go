package embedded

import (
	"errors"
	"reflect"
	"time"
	"unsafe"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// kfake starts the session timer of a new member when it has answered the member's JoinGroup. A
// member whose connection closes before, as when its process is killed while it joins, gets no
// timer. Where another member is the group's leader, the leader then gives it partitions, kfake
// forgets that it has yet to ask for them, and it keeps them for good.
//
// So whoever has yet to send SyncGroup when another member does has a session from then on, as
// every member has in Kafka once its JoinGroup is answered.

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
	if field(group, "pendingSyncIDs") != reflect.TypeFor[map[string]struct{}]() || field(member, "t") != reflect.TypeFor[*time.Timer]() {
		return nil, errors.New("this version of kfake is not the one that weir knows: group or groupMember has other fields")
	}
	return m, nil
}

// onSyncGroup starts the sessions of all who have yet to send the same.
func (m *members) onSyncGroup(kreq kmsg.Request) (kmsg.Response, error, bool) { //nolint:revive // kfake's signature
	req, ok := kreq.(*kmsg.SyncGroupRequest)
	if !ok {
		return nil, nil, false
	}
	m.loop.do(func() {
		group := m.groups.MapIndex(reflect.ValueOf(req.Group))
		if !group.IsValid() {
			return
		}
		all := reach(group.Elem().FieldByName("members"))
		for _, id := range reach(group.Elem().FieldByName("pendingSyncIDs")).MapKeys() {
			if member := all.MapIndex(id); member.IsValid() && id.String() != req.MemberID {
				kfakeUpdateHeartbeat(group.UnsafePointer(), member.UnsafePointer())
			}
		}
	})
	return nil, nil, false
}
