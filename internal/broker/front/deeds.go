package front

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"weir.example/weir/internal/guard"
	"weir.example/weir/internal/trail"
)

// deeds has the requests that change something, and what they do.
var deeds = map[kmsg.Key]string{
	kmsg.CreateTopics:              trail.CreateTopic,
	kmsg.DeleteTopics:              trail.DeleteTopic,
	kmsg.CreatePartitions:          trail.AddPartitions,
	kmsg.AlterConfigs:              trail.ConfigureTopic,
	kmsg.IncrementalAlterConfigs:   trail.ConfigureTopic,
	kmsg.DeleteRecords:             trail.DeleteRecords,
	kmsg.DeleteGroups:              trail.DeleteGroup,
	kmsg.OffsetDelete:              trail.ResetOffsets,
	kmsg.CreateACLs:                trail.CreateACL,
	kmsg.DeleteACLs:                trail.DeleteACL,
	kmsg.AlterUserSCRAMCredentials: trail.ChangeUser,
	kmsg.InitProducerID:            trail.StartProducer,
	kmsg.WriteTxnMarkers:           trail.AbortByMarker,
}

// SetTrail reports what clients do. Call it before Accept. add must not block.
func (l *Listener) SetTrail(add func(trail.Deed)) { l.trail = add }

func deed(what string, who *guard.Principal, from netip.Addr) trail.Deed {
	d := trail.Deed{At: time.Now().UTC(), What: what, From: from.String()}
	if who != nil {
		d.Who = who.Name
	}
	return d
}

// reportLogin reports a login, unless it is one of Weir's own processes, of which there are many.
func (l *Listener) reportLogin(who *guard.Principal, from netip.Addr, how string, err error) {
	if l.trail == nil || who != nil && who.Internal {
		return
	}
	d := deed(trail.Login, who, from)
	if d.On = how; err != nil {
		d.Error = err.Error()
	}
	l.trail(d)
}

// report reports a request that changes something, with the broker's answer.
func (l *Listener) report(req request, answer []byte, who *guard.Principal, from netip.Addr) {
	what := deeds[kmsg.Key(req.key)]
	if l.trail == nil || what == "" || req.parsed == nil {
		return
	}
	if init, ok := req.parsed.(*kmsg.InitProducerIDRequest); ok && init.TransactionalID == nil {
		return // every idempotent producer asks for an id
	}
	if end, ok := req.parsed.(*kmsg.WriteTxnMarkersRequest); ok && slices.ContainsFunc(end.Markers, func(m kmsg.WriteTxnMarkersRequestMarker) bool { return m.Committed }) {
		what = trail.CommitByMarker
	}
	resp := kmsg.ResponseForKey(req.key)
	resp.SetVersion(req.version)
	header := headerBytes
	if resp.IsFlexible() {
		header++
	}
	var failed []string
	if len(answer) >= header && resp.ReadFrom(answer[header:]) == nil {
		failed = errorsIn(reflect.ValueOf(resp).Elem(), failed)
	}
	names := namesIn(reflect.ValueOf(req.parsed).Elem(), nil)
	d := deed(what, who, from)
	d.On, d.Error = strings.Join(distinct(names), ", "), strings.Join(distinct(failed), ", ")
	l.trail(d)
}

// distinct leaves out repeated texts.
func distinct(texts []string) (all []string) {
	seen := make(map[string]bool)
	for _, text := range texts {
		if !seen[text] {
			all = append(all, text)
		}
		seen[text] = true
	}
	return all
}

// namesIn appends the names in a request: of topics, groups, users and so on.
func namesIn(v reflect.Value, names []string) []string {
	for i := range v.NumField() {
		f, name := v.Field(i), v.Type().Field(i).Name
		switch {
		case f.Kind() == reflect.Slice && f.Type().Elem().Kind() == reflect.String: // of groups, and of topics in old versions
			for k := range f.Len() {
				names = append(names, f.Index(k).String())
			}
		case f.Kind() == reflect.Slice && f.Type().Elem().Kind() == reflect.Struct && name != "Configs":
			for k := range f.Len() {
				names = namesIn(f.Index(k), names)
			}
		case slices.Contains([]string{"Topic", "Group", "Name", "ResourceName", "Principal", "TransactionalID"}, name):
			if f.Kind() == reflect.Pointer {
				if f.IsNil() {
					continue
				}
				f = f.Elem()
			}
			if text := f.String(); f.Kind() == reflect.String && text != "" {
				names = append(names, text)
			}
		}
	}
	return names
}

// errorsIn appends the errors in an answer.
func errorsIn(v reflect.Value, failed []string) []string {
	for i := range v.NumField() {
		f, name := v.Field(i), v.Type().Field(i).Name
		switch {
		case name == "ErrorCode":
			if code := int16(f.Int()); code != 0 { //nolint:gosec // its type
				if known := kerr.TypedErrorForCode(code); known != nil {
					failed = append(failed, known.Message)
				} else {
					failed = append(failed, fmt.Sprint("error ", code))
				}
			}
		case f.Kind() == reflect.Slice && f.Type().Elem().Kind() == reflect.Struct:
			for k := range f.Len() {
				failed = errorsIn(f.Index(k), failed)
			}
		}
	}
	return failed
}
