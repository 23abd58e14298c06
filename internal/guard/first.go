package guard

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// First is the first user of a data directory, an administrator that a process adds before it
// serves anything. Its password is stored nowhere: Show shows it once.
type First struct {
	User     User
	Password string
	users    *Users
}

const firstUser = "admin"

// AddFirst adds the first user to a data directory, which is created if it is missing. It returns
// nil if there are users already. A first user whose password nobody has seen, since the process
// was killed before, gets another one.
func AddFirst(dir string) (*First, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("create data directory: %w", err)
	}
	users, err := OpenUsers(dir)
	if err != nil {
		return nil, err
	}
	first := &First{Password: NewPassword(), users: users}
	keys, err := BothKeys(first.Password)
	if err != nil {
		return nil, err
	}
	err = users.Change(func(all map[string]User) error {
		if user, exists := all[firstUser]; exists && !user.Unseen || !exists && len(all) > 0 {
			first = nil
			return nil
		}
		first.User = User{Name: firstUser, Role: Admin, SCRAM: keys, Unseen: true}
		all[firstUser] = first.User
		return nil
	})
	return first, err
}

// Show calls show, which prints the password, unless another process has replaced it.
func (f *First) Show(show func() error) error {
	return f.users.Change(func(all map[string]User) error {
		user := all[f.User.Name]
		if user.identity() != f.User.identity() {
			return errors.New("another process has changed the first user meanwhile, in " + filepath.Dir(f.users.path))
		}
		if err := show(); err != nil {
			return err
		}
		user.Unseen = false
		all[user.Name] = user
		return nil
	})
}
