package embedded

import (
	"errors"
	"fmt"
	"net"
	"reflect"
	"slices"
	"strings"
	"unsafe"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"weir.example/weir/internal/broker/front"
	"weir.example/weir/internal/guard"
)

// access decides what the client of a request may do. kfake checks Kafka's ACLs in its handlers,
// for the user of a connection; access tells it that user. Handlers that answer or journal a
// request before kfake sees it ask access first: otherwise recovery would repeat what kfake has
// refused.
type access struct {
	guard   *guard.Guard
	cluster unsafe.Pointer
	acls    *[]acl // kfake's

	current caller // of the request whose functions run
}

// caller is the client of a request.
type caller struct {
	access  *access
	request unsafe.Pointer // kfake's clientReq
	super   bool           // may do everything
	who     *guard.Principal
	host    string
}

// acl mirrors kfake's, whose fields are checked.
type acl struct {
	principal    string
	host         string
	resourceType kmsg.ACLResourceType
	resourceName string
	pattern      kmsg.ACLResourcePatternType
	operation    kmsg.ACLOperation
	permission   kmsg.ACLPermissionType
}

// superuser is the user that kfake allows everything. No client can log in with this name.
const superuser = "\x00weir"

// kfakeAllowed must be called in kfake's loop, or in a function that it waits for.
//
//go:linkname kfakeAllowed github.com/twmb/franz-go/pkg/kfake.(*Cluster).allowedACL
func kfakeAllowed(cluster, request unsafe.Pointer, resource string, resourceType kmsg.ACLResourceType, op kmsg.ACLOperation) bool

//go:linkname kfakeSaveACLs github.com/twmb/franz-go/pkg/kfake.(*Cluster).persistACLsState
func kfakeSaveACLs(cluster unsafe.Pointer)

func newAccess(l *loop, g *guard.Guard) (a *access, err error) {
	defer catchUnknown(&err)
	cluster := reflect.ValueOf(l.cluster)
	acls := cluster.Elem().FieldByName("acls").FieldByName("acls")
	theirs, ours := acls.Type().Elem(), reflect.TypeFor[acl]()
	if theirs.NumField() != ours.NumField() {
		return nil, errors.New("unsupported version of kfake: acl has other fields")
	}
	for i := range ours.NumField() {
		if theirs.Field(i).Name != ours.Field(i).Name || theirs.Field(i).Type != ours.Field(i).Type {
			return nil, fmt.Errorf("unsupported version of kfake: acl.%s is another field", theirs.Field(i).Name)
		}
	}
	supers := reach(cluster.Elem().FieldByName("cfg").FieldByName("superusers"))
	if supers.Type() != reflect.TypeFor[map[string]struct{}]() {
		return nil, errors.New("unsupported version of kfake: superusers have another type")
	}
	l.do(func() { supers.Set(reflect.ValueOf(map[string]struct{}{superuser: {}})) })
	return &access{guard: g, cluster: cluster.UnsafePointer(), acls: (*[]acl)(acls.Addr().UnsafePointer())}, nil
}

// identify sets the user of a request's connection.
func (a *access) identify(user *string, conn net.Conn, request unsafe.Pointer) {
	who, known := front.Identity(conn)
	name := "" // anonymous: without ACLs for everybody, it may do nothing
	super := known && (who == nil && a.guard.Open() || who != nil && who.Internal)
	switch {
	case super:
		name = superuser
	case who != nil:
		name = who.Name
	}
	if *user != name {
		*user = name
	}
	a.current = caller{access: a, request: request, super: super, who: who}
	if !super {
		a.current.host, _, _ = net.SplitHostPort(conn.RemoteAddr().String())
	}
}

// internal reports whether the client owns the data directory.
func (c caller) internal() bool { return c.super && c.who != nil }

// mayAny reports whether the client may do an operation on a topic, whatever its name. As in Kafka,
// what is denied as a whole is not allowed by an entry for a part of it.
func (c caller) mayAny(op kmsg.ACLOperation) bool {
	if c.super {
		return true
	}
	var denied []acl
	applies := func(e acl) bool {
		return e.resourceType == kmsg.ACLResourceTypeTopic && (e.operation == op || e.operation == kmsg.ACLOperationAll) &&
			(e.principal == "User:*" || c.who != nil && e.principal == "User:"+c.who.Name) && (e.host == "*" || e.host == c.host)
	}
	for _, e := range *c.access.acls {
		if applies(e) && e.permission == kmsg.ACLPermissionTypeDeny {
			denied = append(denied, e)
		}
	}
	return slices.ContainsFunc(*c.access.acls, func(e acl) bool {
		return applies(e) && e.permission == kmsg.ACLPermissionTypeAllow && !slices.ContainsFunc(denied, func(d acl) bool {
			if d.pattern == kmsg.ACLResourcePatternTypePrefixed {
				return strings.HasPrefix(e.resourceName, d.resourceName) && e.resourceName != "*"
			}
			return d.resourceName == "*" || d.resourceName == e.resourceName && e.pattern == kmsg.ACLResourcePatternTypeLiteral
		})
	})
}

// may reports whether the client may do an operation.
func (c caller) may(op kmsg.ACLOperation, on kmsg.ACLResourceType, name string) bool {
	return c.super || kfakeAllowed(c.access.cluster, c.request, name, on, op)
}

const clusterName = "kafka-cluster"

// mayCluster reports whether the client may do an operation on the cluster.
func (c caller) mayCluster(op kmsg.ACLOperation) bool {
	return c.may(op, kmsg.ACLResourceTypeCluster, clusterName)
}

// checks are the checks of requests that handlers of this package answer or journal, by API. Those
// of Produce and TxnOffsetCommit leave topics that are not allowed to kfake.
func (a *access) checks() map[kmsg.Key]handler {
	return map[kmsg.Key]handler{
		kmsg.InitProducerID:               checked(a, caller.onInitProducerID),
		kmsg.AddPartitionsToTxn:           checked(a, caller.onAddPartitions),
		kmsg.AddOffsetsToTxn:              checked(a, caller.onAddOffsets),
		kmsg.EndTxn:                       checked(a, caller.onEndTxn),
		kmsg.TxnOffsetCommit:              checked(a, caller.onTxnOffsetCommit),
		kmsg.OffsetDelete:                 checked(a, caller.onOffsetDelete),
		kmsg.DescribeACLs:                 a.onDescribeACLs,
		kmsg.CreateACLs:                   a.onCreateACLs,
		kmsg.DeleteACLs:                   a.onDeleteACLs,
		kmsg.AlterUserSCRAMCredentials:    a.onAlterUsers,
		kmsg.DescribeUserSCRAMCredentials: a.onDescribeUsers,
		kmsg.AlterClientQuotas:            checked(a, caller.onAlterClientQuotas),
	}
}

// checked is a handler that asks the client of a request; check returns the answer of a request
// that is not allowed, or nil.
func checked[R kmsg.Request](a *access, check func(caller, R) kmsg.Response) handler {
	return func(kreq kmsg.Request) (kmsg.Response, error, bool) {
		req, ok := kreq.(R)
		if !ok || a.current.super {
			return nil, nil, false
		}
		resp := check(a.current, req)
		return resp, nil, resp != nil
	}
}

func (c caller) mayTransact(id string) bool {
	return c.may(kmsg.ACLOperationWrite, kmsg.ACLResourceTypeTransactionalId, id)
}

func (c caller) onInitProducerID(req *kmsg.InitProducerIDRequest) kmsg.Response {
	if req.TransactionalID != nil {
		if !c.mayTransact(*req.TransactionalID) {
			return refuseInit(req, kerr.TransactionalIDAuthorizationFailed)
		}
		return nil
	}
	if !c.mayCluster(kmsg.ACLOperationIdempotentWrite) && !c.mayAny(kmsg.ACLOperationWrite) {
		return refuseInit(req, kerr.ClusterAuthorizationFailed)
	}
	return nil
}

func (c caller) onAddPartitions(req *kmsg.AddPartitionsToTxnRequest) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.AddPartitionsToTxnResponse) //nolint:forcetypeassert // kmsg pairs them
	if req.Version >= 4 {                                         // of brokers
		if c.mayCluster(kmsg.ACLOperationClusterAction) {
			return nil
		}
		resp.ErrorCode = kerr.ClusterAuthorizationFailed.Code
		return resp
	}
	codes, refused := make(map[string]int16), false
	transacts := c.mayTransact(req.TransactionalID)
	for _, t := range req.Topics {
		switch {
		case !transacts:
			codes[t.Topic] = kerr.TransactionalIDAuthorizationFailed.Code
		case !c.may(kmsg.ACLOperationWrite, kmsg.ACLResourceTypeTopic, t.Topic):
			codes[t.Topic] = kerr.TopicAuthorizationFailed.Code
		default:
			codes[t.Topic] = kerr.OperationNotAttempted.Code
			continue
		}
		refused = true
	}
	if !refused {
		return nil
	}
	for _, t := range req.Topics {
		topic := kmsg.NewAddPartitionsToTxnResponseTopic()
		topic.Topic = t.Topic
		for _, p := range t.Partitions {
			partition := kmsg.NewAddPartitionsToTxnResponseTopicPartition()
			partition.Partition, partition.ErrorCode = p, codes[t.Topic]
			topic.Partitions = append(topic.Partitions, partition)
		}
		resp.Topics = append(resp.Topics, topic)
	}
	return resp
}

func (c caller) onAddOffsets(req *kmsg.AddOffsetsToTxnRequest) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.AddOffsetsToTxnResponse) //nolint:forcetypeassert // kmsg pairs them
	switch {
	case !c.mayTransact(req.TransactionalID):
		resp.ErrorCode = kerr.TransactionalIDAuthorizationFailed.Code
	case !c.may(kmsg.ACLOperationRead, kmsg.ACLResourceTypeGroup, req.Group):
		resp.ErrorCode = kerr.GroupAuthorizationFailed.Code
	default:
		return nil
	}
	return resp
}

func (c caller) onEndTxn(req *kmsg.EndTxnRequest) kmsg.Response {
	if c.mayTransact(req.TransactionalID) {
		return nil
	}
	resp := req.ResponseKind().(*kmsg.EndTxnResponse) //nolint:forcetypeassert // kmsg pairs them
	resp.ErrorCode = kerr.TransactionalIDAuthorizationFailed.Code
	return resp
}

// onTxnOffsetCommit refuses a request as a whole; topics are left to kfake.
func (c caller) onTxnOffsetCommit(req *kmsg.TxnOffsetCommitRequest) kmsg.Response {
	var refused *kerr.Error
	switch {
	case !c.mayTransact(req.TransactionalID):
		refused = kerr.TransactionalIDAuthorizationFailed
	case !c.may(kmsg.ACLOperationRead, kmsg.ACLResourceTypeGroup, req.Group):
		refused = kerr.GroupAuthorizationFailed
	default:
		return nil
	}
	return refuseTxnOffsets(req, refused)
}

// onOffsetDelete checks the topics, which kfake does not; the group is left to it.
func (c caller) onOffsetDelete(req *kmsg.OffsetDeleteRequest) kmsg.Response {
	codes, refused := make(map[string]int16), false
	for _, t := range req.Topics {
		codes[t.Topic] = kerr.OperationNotAttempted.Code
		if !c.may(kmsg.ACLOperationRead, kmsg.ACLResourceTypeTopic, t.Topic) {
			codes[t.Topic], refused = kerr.TopicAuthorizationFailed.Code, true
		}
	}
	if !refused || !c.may(kmsg.ACLOperationDelete, kmsg.ACLResourceTypeGroup, req.Group) {
		return nil
	}
	resp := req.ResponseKind().(*kmsg.OffsetDeleteResponse) //nolint:forcetypeassert // kmsg pairs them
	for _, t := range req.Topics {
		topic := kmsg.NewOffsetDeleteResponseTopic()
		topic.Topic = t.Topic
		for _, p := range t.Partitions {
			partition := kmsg.NewOffsetDeleteResponseTopicPartition()
			partition.Partition, partition.ErrorCode = p.Partition, codes[t.Topic]
			topic.Partitions = append(topic.Partitions, partition)
		}
		resp.Topics = append(resp.Topics, topic)
	}
	return resp
}

func (c caller) onAlterClientQuotas(req *kmsg.AlterClientQuotasRequest) kmsg.Response {
	if c.mayCluster(kmsg.ACLOperationAlterConfigs) {
		return nil
	}
	resp := req.ResponseKind().(*kmsg.AlterClientQuotasResponse) //nolint:forcetypeassert // kmsg pairs them
	for _, e := range req.Entries {
		entry := kmsg.NewAlterClientQuotasResponseEntry()
		entry.ErrorCode = kerr.ClusterAuthorizationFailed.Code
		for _, of := range e.Entity {
			entity := kmsg.NewAlterClientQuotasResponseEntryEntity()
			entity.Type, entity.Name = of.Type, of.Name
			entry.Entity = append(entry.Entity, entity)
		}
		resp.Entries = append(resp.Entries, entry)
	}
	return resp
}

// produces returns the answer to a request that is refused as a whole, or nil, and the topics of
// the others that the client may write.
func (c caller) produces(req *kmsg.ProduceRequest, topicName func([16]byte) string) (refused kmsg.Response, allowed func(topic string) bool) {
	if c.super {
		return nil, func(string) bool { return true }
	}
	if req.TransactionID != nil && !c.mayTransact(*req.TransactionID) {
		return refuseProduce(req, kerr.TransactionalIDAuthorizationFailed), nil
	}
	may := make(map[string]bool, len(req.Topics))
	for _, t := range req.Topics {
		name := t.Topic
		if req.Version >= 13 {
			name = topicName(t.TopicID)
		}
		may[name] = c.may(kmsg.ACLOperationWrite, kmsg.ACLResourceTypeTopic, name)
	}
	return nil, func(topic string) bool { return may[topic] }
}

// Requests about ACLs.

// noAuthorizer is Kafka's answer if it does not enforce ACLs.
const noAuthorizer = "No Authorizer is configured on the broker."

// disabled returns the error of requests about ACLs while everybody may do everything.
func (a *access) disabled() (code int16, message *string, disabled bool) {
	if !a.guard.Open() {
		return 0, nil, false
	}
	return kerr.SecurityDisabled.Code, kmsg.StringPtr(noAuthorizer + " Add a user first: weir users add."), true
}

func (a *access) onDescribeACLs(kreq kmsg.Request) (kmsg.Response, error, bool) { //nolint:revive // kfake's signature
	req, ok := kreq.(*kmsg.DescribeACLsRequest)
	if !ok {
		return nil, nil, false
	}
	resp := req.ResponseKind().(*kmsg.DescribeACLsResponse) //nolint:forcetypeassert // kmsg pairs them
	filter := aclFilter{
		req.ResourceType, req.ResourceName, req.ResourcePatternType, req.Principal, req.Host, req.Operation, req.PermissionType,
	}
	code, message, disabled := a.disabled()
	switch {
	case disabled:
		resp.ErrorCode, resp.ErrorMessage = code, message
	case !a.current.mayCluster(kmsg.ACLOperationDescribe):
		resp.ErrorCode, resp.ErrorMessage = kerr.ClusterAuthorizationFailed.Code, kmsg.StringPtr(kerr.ClusterAuthorizationFailed.Description)
	case !filter.valid():
		resp.ErrorCode, resp.ErrorMessage = kerr.InvalidRequest.Code, kmsg.StringPtr("The filter contains UNKNOWN elements.")
	default:
		resp.Resources = describeACLs(*a.acls, filter)
	}
	return resp, nil, true
}

// describeACLs returns the entries that match, by resource.
func describeACLs(acls []acl, filter aclFilter) []kmsg.DescribeACLsResponseResource {
	var all []kmsg.DescribeACLsResponseResource
	for _, e := range acls {
		if !filter.matches(e) {
			continue
		}
		i := slices.IndexFunc(all, func(r kmsg.DescribeACLsResponseResource) bool {
			return r.ResourceType == e.resourceType && r.ResourceName == e.resourceName && r.ResourcePatternType == e.pattern
		})
		if i < 0 {
			i = len(all)
			all = append(all, kmsg.DescribeACLsResponseResource{ResourceType: e.resourceType, ResourceName: e.resourceName, ResourcePatternType: e.pattern})
		}
		all[i].ACLs = append(all[i].ACLs, kmsg.DescribeACLsResponseResourceACL{
			Principal: e.principal, Host: e.host, Operation: e.operation, PermissionType: e.permission,
		})
	}
	return all
}

func (a *access) onCreateACLs(kreq kmsg.Request) (kmsg.Response, error, bool) { //nolint:revive // kfake's signature
	req, ok := kreq.(*kmsg.CreateACLsRequest)
	if !ok {
		return nil, nil, false
	}
	resp := req.ResponseKind().(*kmsg.CreateACLsResponse) //nolint:forcetypeassert // kmsg pairs them
	allowed := a.current.mayCluster(kmsg.ACLOperationAlter)
	changed := false
	for _, c := range req.Creations {
		result := kmsg.NewCreateACLsResponseResult()
		code, message, disabled := a.disabled()
		e := acl{c.Principal, c.Host, c.ResourceType, c.ResourceName, c.ResourcePatternType, c.Operation, c.PermissionType}
		switch wrong := e.invalid(); {
		case disabled:
			result.ErrorCode, result.ErrorMessage = code, message
		case !allowed:
			result.ErrorCode, result.ErrorMessage = kerr.ClusterAuthorizationFailed.Code, kmsg.StringPtr(kerr.ClusterAuthorizationFailed.Description)
		case wrong != "":
			result.ErrorCode, result.ErrorMessage = kerr.InvalidRequest.Code, &wrong
		case !slices.Contains(*a.acls, e):
			*a.acls = append(*a.acls, e)
			changed = true
		}
		resp.Results = append(resp.Results, result)
	}
	if changed {
		kfakeSaveACLs(a.cluster)
	}
	return resp, nil, true
}

func (a *access) onDeleteACLs(kreq kmsg.Request) (kmsg.Response, error, bool) { //nolint:revive // kfake's signature
	req, ok := kreq.(*kmsg.DeleteACLsRequest)
	if !ok {
		return nil, nil, false
	}
	resp := req.ResponseKind().(*kmsg.DeleteACLsResponse) //nolint:forcetypeassert // kmsg pairs them
	allowed := a.current.mayCluster(kmsg.ACLOperationAlter)
	changed := false
	for _, f := range req.Filters {
		result := kmsg.NewDeleteACLsResponseResult()
		filter := aclFilter{f.ResourceType, f.ResourceName, f.ResourcePatternType, f.Principal, f.Host, f.Operation, f.PermissionType}
		code, message, disabled := a.disabled()
		switch {
		case disabled:
			result.ErrorCode, result.ErrorMessage = code, message
		case !allowed:
			result.ErrorCode, result.ErrorMessage = kerr.ClusterAuthorizationFailed.Code, kmsg.StringPtr(kerr.ClusterAuthorizationFailed.Description)
		case !filter.valid():
			result.ErrorCode, result.ErrorMessage = kerr.InvalidRequest.Code, kmsg.StringPtr("The filter contains UNKNOWN elements.")
		default:
			*a.acls = slices.DeleteFunc(*a.acls, func(e acl) bool {
				if !filter.matches(e) {
					return false
				}
				changed = true
				result.MatchingACLs = append(result.MatchingACLs, kmsg.DeleteACLsResponseResultMatchingACL{
					ResourceType: e.resourceType, ResourceName: e.resourceName, ResourcePatternType: e.pattern,
					Principal: e.principal, Host: e.host, Operation: e.operation, PermissionType: e.permission,
				})
				return true
			})
		}
		resp.Results = append(resp.Results, result)
	}
	if changed {
		kfakeSaveACLs(a.cluster)
	}
	return resp, nil, true
}
