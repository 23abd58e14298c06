package guard

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/xdg-go/scram"
)

// open returns the guard of a new directory with a user alice.
func open(t *testing.T) (*Guard, string) {
	t.Helper()
	dir := t.TempDir()
	g, err := Open(t.Context(), Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	return g, dir
}

func add(t *testing.T, g *Guard, name, password string, role Role) {
	t.Helper()
	err := g.Users().Change(func(users map[string]User) error {
		user := User{Name: name, Role: role}
		if password != "" {
			var err error
			if user.SCRAM, err = BothKeys(password); err != nil {
				return err
			}
		}
		users[name] = user
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// login runs a client's side of a conversation.
func login(t *testing.T, g *Guard, mechanism, user, password string) (*Principal, error) {
	t.Helper()
	family := scram.SHA256
	if mechanism == SCRAM512 {
		family = scram.SHA512
	}
	client, err := family.NewClientUnprepped(user, password, "")
	if err != nil {
		t.Fatal(err)
	}
	conversation, ok := g.Start(mechanism)
	if !ok {
		t.Fatalf("%s is not served", mechanism)
	}
	mine := client.NewConversation()
	for theirs := ""; ; {
		out, err := mine.Step(theirs)
		if err != nil {
			t.Fatalf("the client does not accept the server: %v", err)
		}
		answer, who, err := conversation.Step([]byte(out))
		if err != nil {
			return nil, err
		}
		if who != nil {
			if _, err := mine.Step(string(answer)); err != nil || !mine.Valid() {
				t.Fatalf("the server has not proved that it knows the password: %v", err)
			}
			return who, nil
		}
		theirs = string(answer)
	}
}

func TestLogin(t *testing.T) {
	g, _ := open(t)
	if !g.Open() {
		t.Error("a guard without users requires a login")
	}
	add(t, g, "alice", "correct horse", Reader)
	add(t, g, "O'Brien, =ü", "pässword", Device)
	if g.Open() {
		t.Error("a guard with users requires no login")
	}
	for _, c := range []struct {
		mechanism, user, password string
		ok                        bool
	}{
		{SCRAM256, "alice", "correct horse", true},
		{SCRAM512, "alice", "correct horse", true},
		{SCRAM256, "O'Brien, =ü", "pässword", true},
		{SCRAM512, "alice", "correct Horse", false},
		{SCRAM256, "alice", "", false},
		{SCRAM256, "nobody", "correct horse", false},
		{SCRAM256, InternalName, g.secret, true},
		{SCRAM512, InternalName, g.secret, false},
		{SCRAM256, InternalName, "correct horse", false},
	} {
		who, err := login(t, g, c.mechanism, c.user, c.password)
		if (err == nil) != c.ok || c.ok && who.Name != c.user {
			t.Errorf("%s of %s: %+v, %v", c.mechanism, c.user, who, err)
		}
		if c.mechanism == SCRAM512 && c.user == InternalName {
			continue
		}
		plain, _ := g.Start(Plain)
		_, who, err = plain.Step([]byte("\x00" + c.user + "\x00" + c.password))
		if (err == nil) != c.ok || c.ok && who.Name != c.user {
			t.Errorf("PLAIN of %s: %+v, %v", c.user, who, err)
		}
	}
	if _, ok := g.Start(OAuthBearer); ok {
		t.Error("OAUTHBEARER is served without a provider")
	}
}

// A login of Weir's own process is known as such from its first message on, before others' failures
// can refuse it.
func TestInternalFirst(t *testing.T) {
	g, _ := open(t)
	for user, want := range map[string]bool{InternalName: true, "alice": false, "weir2": false, "a,n=weir": false} {
		client, err := scram.SHA256.NewClientUnprepped(user, "x", "")
		if err != nil {
			t.Fatal(err)
		}
		first, err := client.NewConversation().Step("")
		if err != nil {
			t.Fatal(err)
		}
		c, err := g.newSCRAM(SCRAM256)
		if err != nil {
			t.Fatal(err)
		}
		if got := c.Internal([]byte(first)); got != want {
			t.Errorf("first message %q: internal %t", first, got)
		}
		_, _, _ = c.Step([]byte(first))
		if got := c.Internal([]byte("c=biws")); got != want {
			t.Errorf("second message of %s: internal %t", user, got)
		}
	}
}

// The last message of SCRAM must have the server's nonce, or as librdkafka before 2.10 sends it,
// the client's twice; and everything that it says is part of the proof.
func TestSCRAMFinal(t *testing.T) {
	g, _ := open(t)
	add(t, g, "alice", "one", Reader)
	_, keys, _ := g.keysOf("alice", SCRAM256)
	salted, err := saltedPassword(SCRAM256, "one", keys.Salt, keys.Iterations)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, first string
		nonce       func(server string) string
		header      string
		spoil       func(string) string
		ok          bool
	}{
		{"as it should be", "n,,n=alice,r=mine", func(s string) string { return s }, "n,,", nil, true},
		{"as its own name", "n,a=alice,n=alice,r=mine", func(s string) string { return s }, "n,a=alice,", nil, true},
		{"librdkafka", "n,,n=alice,r=mine", func(s string) string { return "mine" + s }, "n,,", nil, true},
		{"its own nonce alone", "n,,n=alice,r=mine", func(string) string { return "mine" }, "n,,", nil, false},
		{"another beginning", "n,,n=alice,r=mine", func(s string) string { return "other" + s[4:] }, "n,,", nil, false},
		{"no nonce", "n,,n=alice,r=mine", func(string) string { return "" }, "n,,", nil, false},
		{"another header", "n,,n=alice,r=mine", func(s string) string { return s }, "y,,", nil, false},
		{"as somebody else", "n,a=bob,n=alice,r=mine", func(s string) string { return s }, "n,a=bob,", nil, false},
		{"changed after the proof", "n,,n=alice,r=mine", func(s string) string { return s }, "n,,", func(m string) string { return strings.Replace(m, ",p=", ",x=y,p=", 1) }, false},
		{"no proof", "n,,n=alice,r=mine", func(s string) string { return s }, "n,,", func(m string) string { m, _, _ = strings.Cut(m, ",p="); return m + ",p=" }, false},
	} {
		conversation, err := g.newSCRAM(SCRAM256)
		if err != nil {
			t.Fatal(err)
		}
		answer, who, err := conversation.Step([]byte(c.first))
		if err != nil || who != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		server, _, _ := strings.Cut(strings.TrimPrefix(string(answer), "r="), ",")
		unproved := "c=" + base64.StdEncoding.EncodeToString([]byte(c.header)) + ",r=" + c.nonce(server)
		bare := strings.SplitN(c.first, ",", 3)[2]
		hash := func(key []byte, text string) []byte {
			mac := hmac.New(sha256.New, key)
			mac.Write([]byte(text))
			return mac.Sum(nil)
		}
		key := hash(salted, "Client Key")
		stored := sha256.Sum256(key)
		subtle.XORBytes(key, key, hash(stored[:], bare+","+string(answer)+","+unproved))
		message := unproved + ",p=" + base64.StdEncoding.EncodeToString(key)
		if c.spoil != nil {
			message = c.spoil(message)
		}
		_, who, err = conversation.Step([]byte(message))
		if (err == nil && who != nil && who.Name == "alice") != c.ok {
			t.Errorf("%s: %v, %v", c.name, who, err)
		}
	}
}

// TestNoTrace checks that neither the file nor an answer tells what a client may not know.
func TestNoTrace(t *testing.T) {
	g, dir := open(t)
	add(t, g, "alice", "correct horse", Reader)
	data, err := os.ReadFile(filepath.Join(dir, UsersFile))
	if err != nil || strings.Contains(string(data), "horse") {
		t.Errorf("the file has the password, or cannot be read: %v", err)
	}
	for _, name := range []string{UsersFile, SecretFile} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: mode %v, %v", name, info.Mode(), err)
		}
	}
	first := func(user string) string {
		c, _ := g.Start(SCRAM256)
		out, _, err := c.Step([]byte("n,,n=" + user + ",r=abc"))
		if err != nil {
			t.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(out), ",s=")
		return rest
	}
	if a, b := first("nobody"), first("nobody"); a != b || len(a) != len(first("alice")) {
		t.Errorf("a user that does not exist is answered %q and %q, one that exists %q", a, b, first("alice"))
	}
	if err := os.Chmod(filepath.Join(dir, UsersFile), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenUsers(dir); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a file that others can read: %v", err)
	}
}

// TestEndOfLogin checks that a connection does not outlive the credentials it logged in with.
func TestEndOfLogin(t *testing.T) {
	g, dir := open(t)
	add(t, g, "alice", "one", Reader)
	add(t, g, "bob", "one", Reader)
	alice, err := g.Password("alice", "one")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	if !g.Valid(alice, now) {
		t.Error("a login is not valid")
	}
	// Another process changes the users.
	other, err := OpenUsers(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Change(func(users map[string]User) error { delete(users, "alice"); return nil }); err != nil {
		t.Fatal(err)
	}
	g.users.checked.Store(0)
	if g.Valid(alice, now) {
		t.Error("the login of a removed user is valid")
	}
	if g.Valid(&Principal{Name: "token", Expires: now}, now) {
		t.Error("an expired token is valid")
	}
	// A damaged file neither removes users nor opens the broker.
	if err := os.WriteFile(filepath.Join(dir, UsersFile), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	g.users.checked.Store(0)
	if _, err := g.Password("bob", "one"); err != nil || g.Open() || g.users.Err() == nil {
		t.Errorf("after the file was damaged: login %v, open %t, error %v", err, g.Open(), g.users.Err())
	}
}

func TestRoles(t *testing.T) {
	may := map[Role][]Role{
		"":       nil,
		Device:   {Device},
		Reader:   {Reader},
		Operator: {Device, Reader, Operator},
		Admin:    {Device, Reader, Operator, Admin},
	}
	for has, allowed := range may {
		for _, role := range append(Roles, "") {
			want := false
			for _, a := range allowed {
				want = want || a == role
			}
			if got := (Principal{Role: has}).May(role); got != want {
				t.Errorf("role %q may do what %q may: %t, expected %t", has, role, got, want)
			}
		}
	}
}

// TestCertificate checks that a principal is written as Java does: the last part of the subject
// first.
func TestCertificate(t *testing.T) {
	g, _ := open(t)
	subject := pkix.RDNSequence{
		{{Type: asn1.ObjectIdentifier{2, 5, 4, 10}, Value: "Weir"}},
		{{Type: asn1.ObjectIdentifier{2, 5, 4, 3}, Value: "press, 7"}},
	}
	raw, err := asn1.Marshal(subject)
	if err != nil {
		t.Fatal(err)
	}
	who, err := g.Certificate(&x509.Certificate{RawSubject: raw})
	if err != nil || who.Name != `CN=press\, 7,O=Weir` {
		t.Errorf("principal %+v, %v", who, err)
	}
}

func TestExposed(t *testing.T) {
	for address, exposed := range map[string]bool{
		"127.0.0.1:9092": false, "localhost:1": false, "[::1]:9092": false, "127.1.2.3:1": false,
		"0.0.0.0:9092": true, ":9092": true, "[::]:9092": true, "192.0.2.1:9092": true, "example:9092": true,
	} {
		for _, tls := range []bool{false, true} {
			for _, login := range []bool{false, true} {
				err := CheckExposed("broker", address, tls, login)
				if (err != nil) != (exposed && (!tls || !login)) {
					t.Errorf("%s, tls %t, login %t: %v", address, tls, login, err)
				}
			}
		}
	}
}
