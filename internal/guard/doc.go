// Package guard knows who may use what this process serves. The embedded broker and the MQTT broker
// ask it for each connection; the registry, the console and the admin port for each request.
//
//	guard.go      Guard: whether a login is required, and the logins of all kinds
//	principal.go  principals and their roles
//	users.go      the users of a data directory, in a file
//	first.go      the first user, which a server adds itself
//	scram.go      passwords as SCRAM keys; SCRAM conversations
//	sasl.go       the SASL mechanisms of the broker
//	acl.go        the ACLs that a role consists of on a broker
//	access.go     who may send a request by HTTP; what the audit trail is told
//	routes.go     the role that each route of the console, the admin port and the registry needs
//	session.go    sessions of browsers
//	proxy.go      reverse proxies that name the user
//	web.go        servers of HTTP: their timeouts, and the names by which they may be addressed
//	answers.go    answers of HTTP whose clients read slowly
//	failures.go   a limit of logins that fail, for each address
//	listen.go     which addresses other machines can reach
//
// # Identities
//
// A principal has the name of a user, the subject of a client certificate, or a claim of a token
// that an OpenID provider has signed. Kafka's ACLs name it User:NAME. Its role says what it may do
// by HTTP; on the broker, a role is nothing but the ACLs that weir users creates with the user, so
// that Kafka's tools show and change all that applies.
//
// Without users, client authorities or an OpenID provider, everybody may do everything. Listeners
// that other machines can reach are refused in this state, unless the operator insists.
//
// # Secrets
//
// A password is stored as the keys of SCRAM (RFC 5802), with which nobody can log in; a token as
// its hash. Processes of the operating system's user that owns the data directory log in with a
// secret in it, which the broker replaces at each start.
package guard
