package embedded

import (
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// invalid returns why Kafka does not accept an entry, or "".
func (e acl) invalid() string {
	switch {
	case e.resourceType < kmsg.ACLResourceTypeTopic || e.resourceType > kmsg.ACLResourceTypeTransactionalId:
		return fmt.Sprintf("Invalid resourceType %v: topics, groups, the cluster and transactional ids have ACLs here", e.resourceType)
	case e.resourceType == kmsg.ACLResourceTypeCluster && e.resourceName != clusterName:
		return "The only valid name for the CLUSTER resource is " + clusterName
	case e.resourceName == "":
		return "Invalid empty resource name"
	case e.pattern != kmsg.ACLResourcePatternTypeLiteral && e.pattern != kmsg.ACLResourcePatternTypePrefixed:
		return fmt.Sprintf("Invalid patternType %v", e.pattern)
	case e.operation < kmsg.ACLOperationAll || e.operation > kmsg.ACLOperationIdempotentWrite:
		return fmt.Sprintf("Invalid operation %v", e.operation)
	case e.permission != kmsg.ACLPermissionTypeAllow && e.permission != kmsg.ACLPermissionTypeDeny:
		return fmt.Sprintf("Invalid permissionType %v", e.permission)
	}
	if kind, name, ok := strings.Cut(e.principal, ":"); !ok || kind == "" || name == "" {
		return "Could not parse principal from `" + e.principal + "` (no colon is present separating the principal type from the principal name)"
	}
	return ""
}

// aclFilter selects entries; fields that are nil or Any select all.
type aclFilter struct {
	resourceType kmsg.ACLResourceType
	resourceName *string
	pattern      kmsg.ACLResourcePatternType
	principal    *string
	host         *string
	operation    kmsg.ACLOperation
	permission   kmsg.ACLPermissionType
}

func (f aclFilter) valid() bool {
	return f.resourceType != kmsg.ACLResourceTypeUnknown && f.pattern != kmsg.ACLResourcePatternTypeUnknown &&
		f.operation != kmsg.ACLOperationUnknown && f.permission != kmsg.ACLPermissionTypeUnknown
}

func (f aclFilter) matches(e acl) bool {
	is := func(wanted *string, value string) bool { return wanted == nil || *wanted == value }
	return (f.resourceType == kmsg.ACLResourceTypeAny || f.resourceType == e.resourceType) && f.matchesName(e) &&
		is(f.principal, e.principal) && is(f.host, e.host) &&
		(f.operation == kmsg.ACLOperationAny || f.operation == e.operation) &&
		(f.permission == kmsg.ACLPermissionTypeAny || f.permission == e.permission)
}

// matchesName is Kafka's ResourcePatternFilter: Match selects the entries that apply to a name.
func (f aclFilter) matchesName(e acl) bool {
	any, match := f.pattern == kmsg.ACLResourcePatternTypeAny, f.pattern == kmsg.ACLResourcePatternTypeMatch
	switch {
	case !any && !match && f.pattern != e.pattern:
		return false
	case f.resourceName == nil:
		return true
	case !match:
		return *f.resourceName == e.resourceName
	case e.pattern == kmsg.ACLResourcePatternTypePrefixed:
		return strings.HasPrefix(*f.resourceName, e.resourceName)
	}
	return *f.resourceName == e.resourceName || e.resourceName == "*"
}
