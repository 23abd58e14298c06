package embedded

import (
	"net/http"

	"weir.example/weir/internal/guard"
	"weir.example/weir/internal/trail"
)

// access returns who may send which requests.
func (r *Registry) access() *guard.Access {
	fail := func(w http.ResponseWriter, status int, err error) {
		write(w, r.cfg.Logger, status, refuse(status, "%s", err))
	}
	return guard.NewAccess(guard.AccessConfig{
		Part: "registry", Guard: r.cfg.Guard, Proxies: r.cfg.Proxies, Trail: r.cfg.Trail, Change: trail.ChangeSchema, Basic: true, Fail: fail,
	})
}
