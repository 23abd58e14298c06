package guard

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// Principal is who sends a request.
type Principal struct {
	Name string // without User:
	Role Role   // what it may do by HTTP; "" for nothing

	// Internal is a process of the user that owns the data directory, which may do everything.
	Internal bool

	Expires time.Time // of a token; zero: never

	shared bool // has logged in with a token that is no user's

	keys string // of the user's credentials when it logged in; "" if it has none here
}

// Role is what a principal may do. Reader, operator and admin each include the role before.
type Role string

// Roles.
const (
	Device   Role = "device"   // writes readings
	Reader   Role = "reader"   // reads topics, schemas, the console and the admin port
	Operator Role = "operator" // also runs pipelines, writes schemas, replays dead letters
	Admin    Role = "admin"    // also creates users, ACLs and settings
)

// Roles lists all roles, the weakest first.
var Roles = []Role{Device, Reader, Operator, Admin}

// ParseRole returns the role with a name.
func ParseRole(name string) (Role, error) {
	if role := Role(name); slices.Contains(Roles, role) {
		return role, nil
	}
	return "", fmt.Errorf("unknown role %q: choose device, reader, operator or admin", name)
}

// May reports whether the principal may do what a role may.
func (p Principal) May(role Role) bool {
	if p.Role == Device || role == Device {
		return p.Internal || p.Role == role || p.Role == Operator || p.Role == Admin
	}
	return p.Internal || slices.Contains(Roles, role) && slices.Index(Roles, p.Role) >= slices.Index(Roles, role)
}

// InternalName is the user name of the processes that own the data directory.
const InternalName = "weir"

// CheckName returns an error for a name that a user cannot have.
func CheckName(name string) error {
	switch {
	case name == "":
		return errors.New("a user needs a name")
	case name == InternalName:
		return fmt.Errorf("%s is the name under which Weir's own processes log in: choose another one", name)
	case name == "*":
		return fmt.Errorf("* stands for all users in ACLs: choose another name")
	case len(name) > 255:
		return fmt.Errorf("the name of a user has %d bytes, and may have 255", len(name))
	}
	for _, r := range name {
		if r < ' ' || r == 0x7f || r == '\uFFFD' {
			return fmt.Errorf("the name %q has a control character or invalid UTF-8", name)
		}
	}
	return nil
}
