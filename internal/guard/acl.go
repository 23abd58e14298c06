package guard

import (
	"github.com/twmb/franz-go/pkg/kmsg"
)

// ACL is an entry of Kafka's ACLs that allows its principal an operation.
type ACL struct {
	Type      kmsg.ACLResourceType
	Pattern   kmsg.ACLResourcePatternType
	Name      string
	Operation kmsg.ACLOperation
}

const clusterName = "kafka-cluster"

// ACLs returns what a role may do on a broker. readings is the topic that devices write.
func (r Role) ACLs(readings string) []ACL {
	all := func(t kmsg.ACLResourceType, ops ...kmsg.ACLOperation) (acls []ACL) {
		name := "*"
		if t == kmsg.ACLResourceTypeCluster {
			name = clusterName
		}
		for _, op := range ops {
			acls = append(acls, ACL{t, kmsg.ACLResourcePatternTypeLiteral, name, op})
		}
		return acls
	}
	var acls []ACL
	switch r {
	case Device:
		return []ACL{{kmsg.ACLResourceTypeTopic, kmsg.ACLResourcePatternTypeLiteral, readings, kmsg.ACLOperationWrite}}
	case Reader:
		acls = all(kmsg.ACLResourceTypeTopic, kmsg.ACLOperationRead, kmsg.ACLOperationDescribeConfigs)
		acls = append(acls, all(kmsg.ACLResourceTypeGroup, kmsg.ACLOperationRead)...)
		acls = append(acls, all(kmsg.ACLResourceTypeTransactionalId, kmsg.ACLOperationDescribe)...)
		return append(acls, all(kmsg.ACLResourceTypeCluster, kmsg.ACLOperationDescribe)...)
	case Operator:
		acls = all(kmsg.ACLResourceTypeTopic, kmsg.ACLOperationRead, kmsg.ACLOperationWrite, kmsg.ACLOperationCreate, kmsg.ACLOperationAlter,
			kmsg.ACLOperationDelete, kmsg.ACLOperationDescribeConfigs, kmsg.ACLOperationAlterConfigs)
		acls = append(acls, all(kmsg.ACLResourceTypeGroup, kmsg.ACLOperationRead, kmsg.ACLOperationDelete)...)
		acls = append(acls, all(kmsg.ACLResourceTypeTransactionalId, kmsg.ACLOperationWrite, kmsg.ACLOperationDescribe)...)
		return append(acls, all(kmsg.ACLResourceTypeCluster, kmsg.ACLOperationDescribe, kmsg.ACLOperationIdempotentWrite)...)
	case Admin:
		for _, t := range []kmsg.ACLResourceType{
			kmsg.ACLResourceTypeTopic, kmsg.ACLResourceTypeGroup, kmsg.ACLResourceTypeTransactionalId, kmsg.ACLResourceTypeCluster,
		} {
			acls = append(acls, all(t, kmsg.ACLOperationAll)...)
		}
	}
	return acls
}
