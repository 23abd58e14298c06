package embedded

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"weir.example/weir/internal/guard"
)

// Requests about SCRAM users (KIP-554), which the guard's file has. kfake would keep salted
// passwords, with which one can log in.

func mechanismName(m int8) string {
	switch m {
	case 1:
		return guard.SCRAM256
	case 2:
		return guard.SCRAM512
	}
	return ""
}

func (a *access) onDescribeUsers(kreq kmsg.Request) (kmsg.Response, error, bool) { //nolint:revive // kfake's signature
	req, ok := kreq.(*kmsg.DescribeUserSCRAMCredentialsRequest)
	if !ok {
		return nil, nil, false
	}
	resp := req.ResponseKind().(*kmsg.DescribeUserSCRAMCredentialsResponse) //nolint:forcetypeassert // kmsg pairs them
	if !a.current.mayCluster(kmsg.ACLOperationDescribe) {
		resp.ErrorCode, resp.ErrorMessage = kerr.ClusterAuthorizationFailed.Code, kmsg.StringPtr(kerr.ClusterAuthorizationFailed.Description)
		return resp, nil, true
	}
	count := make(map[string]int)
	var names []string
	for _, u := range req.Users {
		if count[u.Name]++; count[u.Name] == 1 {
			names = append(names, u.Name)
		}
	}
	if len(req.Users) == 0 {
		for _, u := range a.guard.Users().List() {
			if len(u.SCRAM) > 0 {
				names = append(names, u.Name)
			}
		}
	}
	for _, name := range names {
		result := kmsg.NewDescribeUserSCRAMCredentialsResponseResult()
		result.User = name
		user, _ := a.guard.Users().Find(name)
		switch {
		case count[name] > 1:
			result.ErrorCode = kerr.DuplicateResource.Code
			result.ErrorMessage = kmsg.StringPtr("Cannot describe SCRAM credentials for the same user twice in a single request: " + name)
		case len(user.SCRAM) == 0:
			result.ErrorCode = kerr.ResourceNotFound.Code
			result.ErrorMessage = kmsg.StringPtr("Attempt to describe a user credential that does not exist: " + name)
		}
		if result.ErrorCode == 0 {
			for _, k := range user.SCRAM {
				info := kmsg.NewDescribeUserSCRAMCredentialsResponseResultCredentialInfo()
				info.Mechanism, info.Iterations = 1, int32(k.Iterations) //nolint:gosec // bounded
				if k.Mechanism == guard.SCRAM512 {
					info.Mechanism = 2
				}
				result.CredentialInfos = append(result.CredentialInfos, info)
			}
		}
		resp.Results = append(resp.Results, result)
	}
	return resp, nil, true
}

// userChange is what a request does to one user.
type userChange struct {
	code    int16
	message string
	seen    map[int8]bool // mechanisms
	remove  []string
	upsert  []guard.Keys
}

func (c *userChange) fail(e *kerr.Error, message string) {
	if c.code == 0 {
		c.code, c.message = e.Code, message
	}
}

// add checks what deletions and upsertions have in common.
func (c *userChange) add(name string, mechanism int8) {
	switch err := guard.CheckName(name); {
	case name == "":
		c.fail(kerr.UnacceptableCredential, "Username must not be empty")
	case err != nil:
		c.fail(kerr.UnacceptableCredential, err.Error())
	case mechanismName(mechanism) == "":
		c.fail(kerr.UnsupportedSaslMechanism, "Unknown SCRAM mechanism")
	case c.seen[mechanism]:
		c.fail(kerr.DuplicateResource, "A user credential cannot be altered twice in the same request")
	}
	c.seen[mechanism] = true
}

func (a *access) onAlterUsers(kreq kmsg.Request) (kmsg.Response, error, bool) { //nolint:revive // kfake's signature
	req, ok := kreq.(*kmsg.AlterUserSCRAMCredentialsRequest)
	if !ok {
		return nil, nil, false
	}
	changes := make(map[string]*userChange)
	var names []string
	of := func(name string) *userChange {
		if changes[name] == nil {
			changes[name] = &userChange{seen: make(map[int8]bool)}
			names = append(names, name)
		}
		return changes[name]
	}
	for _, d := range req.Deletions {
		c := of(d.Name)
		c.add(d.Name, d.Mechanism)
		c.remove = append(c.remove, mechanismName(d.Mechanism))
	}
	for _, u := range req.Upsertions {
		c := of(u.Name)
		c.add(u.Name, u.Mechanism)
		switch {
		case u.Iterations < guard.MinIterations:
			c.fail(kerr.UnacceptableCredential, "Too few iterations")
		case u.Iterations > guard.MaxIterations:
			c.fail(kerr.UnacceptableCredential, "Too many iterations")
		case len(u.Salt) == 0 || len(u.SaltedPassword) == 0:
			c.fail(kerr.UnacceptableCredential, "Salt and salted password must not be empty")
		}
		if c.code == 0 {
			c.upsert = append(c.upsert, guard.KeysOf(mechanismName(u.Mechanism), u.SaltedPassword, slices.Clone(u.Salt), int(u.Iterations)))
		}
	}
	for _, name := range names {
		switch {
		case !a.current.mayCluster(kmsg.ACLOperationAlter):
			changes[name].code, changes[name].message = kerr.ClusterAuthorizationFailed.Code, kerr.ClusterAuthorizationFailed.Description
		case a.guard.Open() && !a.current.internal():
			changes[name].code = kerr.SecurityDisabled.Code
			changes[name].message = "Clients need no login here. Add the first user with weir users add: from then on, all clients have to log in."
		}
	}
	a.apply(names, changes)
	resp := req.ResponseKind().(*kmsg.AlterUserSCRAMCredentialsResponse) //nolint:forcetypeassert // kmsg pairs them
	for _, name := range names {
		result := kmsg.NewAlterUserSCRAMCredentialsResponseResult()
		result.User, result.ErrorCode = name, changes[name].code
		if result.ErrorCode != 0 {
			result.ErrorMessage = &changes[name].message
		}
		resp.Results = append(resp.Results, result)
	}
	return resp, nil, true
}

// apply makes the changes that have no error.
func (a *access) apply(names []string, changes map[string]*userChange) {
	if !slices.ContainsFunc(names, func(n string) bool { return changes[n].code == 0 }) {
		return
	}
	err := a.guard.Users().Change(func(users map[string]guard.User) error {
		for _, name := range names {
			c := changes[name]
			user := users[name]
			user.Name = name
			for _, mechanism := range c.remove {
				if !slices.Contains(user.Mechanisms(), mechanism) {
					c.fail(kerr.ResourceNotFound, "Attempt to delete a user credential that does not exist")
				}
			}
			if c.code != 0 {
				continue
			}
			user.SCRAM = slices.DeleteFunc(slices.Clone(user.SCRAM), func(k guard.Keys) bool {
				return slices.Contains(c.remove, k.Mechanism) || slices.ContainsFunc(c.upsert, func(n guard.Keys) bool { return n.Mechanism == k.Mechanism })
			})
			user.SCRAM = append(user.SCRAM, c.upsert...)
			users[name] = user
			if len(user.SCRAM) == 0 && user.Role == "" && user.Token == "" {
				delete(users, name)
			}
		}
		return nil
	})
	if err != nil {
		for _, name := range names {
			changes[name].fail(kerr.KafkaStorageError, err.Error())
		}
	}
}
