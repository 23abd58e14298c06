package guard

import (
	"bytes"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"strings"

	"github.com/xdg-go/scram"
)

// SCRAM mechanisms.
const (
	SCRAM256 = "SCRAM-SHA-256"
	SCRAM512 = "SCRAM-SHA-512"
)

// Iterations of a password's hash: Kafka's default and bounds.
const (
	DefaultIterations = 8192
	MinIterations     = 4096
	MaxIterations     = 16384
)

// Keys verify a password, and prove to the client that the server knows them (RFC 5802). Nobody can
// log in with them.
type Keys struct {
	Mechanism  string `json:"mechanism"`
	Salt       []byte `json:"salt"`
	Iterations int    `json:"iterations"`
	Stored     []byte `json:"stored_key"`
	Server     []byte `json:"server_key"`
}

func hashOf(mechanism string) func() hash.Hash {
	if mechanism == SCRAM512 {
		return sha512.New
	}
	return sha256.New
}

// NewKeys returns the keys of a password with a random salt.
func NewKeys(mechanism, password string) (Keys, error) {
	salt := make([]byte, 20)
	_, _ = rand.Read(salt) // it never fails
	salted, err := saltedPassword(mechanism, password, salt, DefaultIterations)
	if err != nil {
		return Keys{}, err
	}
	return KeysOf(mechanism, salted, salt, DefaultIterations), nil
}

// BothKeys returns a password's keys for both mechanisms.
func BothKeys(password string) ([]Keys, error) {
	if password == "" {
		return nil, errors.New("the password is empty")
	}
	var all []Keys
	for _, m := range []string{SCRAM256, SCRAM512} {
		k, err := NewKeys(m, password)
		if err != nil {
			return nil, err
		}
		all = append(all, k)
	}
	return all, nil
}

// saltedPassword uses the bytes of the password as they are, as Kafka does.
func saltedPassword(mechanism, password string, salt []byte, iterations int) ([]byte, error) {
	h := hashOf(mechanism)
	return pbkdf2.Key(h, password, salt, iterations, h().Size())
}

// KeysOf returns the keys of a salted password, which the caller forgets.
func KeysOf(mechanism string, salted, salt []byte, iterations int) Keys {
	sum := func(key []byte, text string) []byte {
		mac := hmac.New(hashOf(mechanism), key)
		mac.Write([]byte(text))
		return mac.Sum(nil)
	}
	client := sum(salted, "Client Key")
	stored := hashOf(mechanism)()
	stored.Write(client)
	return Keys{Mechanism: mechanism, Salt: salt, Iterations: iterations, Stored: stored.Sum(nil), Server: sum(salted, "Server Key")}
}

// verify reports whether a password is the one that the keys were made of.
func (k Keys) verify(password string) bool {
	salted, err := saltedPassword(k.Mechanism, password, k.Salt, k.Iterations)
	if err != nil {
		return false
	}
	return subtle.ConstantTimeCompare(KeysOf(k.Mechanism, salted, k.Salt, k.Iterations).Stored, k.Stored) == 1
}

// unknownKeys are the keys of a user that does not exist: nobody can log in with them, and their
// salt is the same each time, so that a client does not learn which users exist.
func (g *Guard) unknownKeys(mechanism, name string) Keys {
	mac := hmac.New(sha256.New, g.unknown[:])
	mac.Write([]byte(mechanism + "\x00" + name))
	sum := mac.Sum(nil)
	size := hashOf(mechanism)().Size()
	never := make([]byte, size)
	_, _ = rand.Read(never) // it never fails
	return Keys{Mechanism: mechanism, Salt: sum[:20], Iterations: DefaultIterations, Stored: never, Server: never}
}

// scramConversation is a login by SCRAM.
type scramConversation struct {
	g    *Guard
	user User
	keys Keys
	*scram.ServerConversation

	header, clientFirst, serverFirst string // of the first messages
}

func (g *Guard) newSCRAM(mechanism string) (*scramConversation, error) {
	c := &scramConversation{g: g}
	lookup := func(name string) (scram.StoredCredentials, error) {
		user, keys, ok := g.keysOf(name, mechanism)
		if !ok {
			user, keys = User{}, g.unknownKeys(mechanism, name)
		}
		c.user, c.keys = user, keys
		return scram.StoredCredentials{
			KeyFactors: scram.KeyFactors{Salt: string(keys.Salt), Iters: keys.Iterations}, StoredKey: keys.Stored, ServerKey: keys.Server,
		}, nil
	}
	family := scram.SHA256
	if mechanism == SCRAM512 {
		family = scram.SHA512
	}
	server, err := family.NewServer(lookup)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", mechanism, err)
	}
	c.ServerConversation = server.NewConversation()
	return c, nil
}

// internalFirst is in the first message of a process that owns the data directory.
const internalFirst = ",,n=" + InternalName + ","

// Internal reports whether a login whose client sends this message now is that of a process that
// owns the data directory. Its secret cannot be guessed, so others' failures must not keep it out.
func (c *scramConversation) Internal(message []byte) bool {
	if c.user.Name == "" { // the first message
		return bytes.HasPrefix(message[min(1, len(message)):], []byte(internalFirst))
	}
	return c.user.Name == InternalName
}

// Step takes a client's message, and returns the answer; who is set once the login is complete.
func (c *scramConversation) Step(in []byte) (out []byte, who *Principal, err error) {
	if c.serverFirst != "" {
		return c.final(string(in))
	}
	answer, err := c.ServerConversation.Step(string(in))
	if err != nil {
		return nil, nil, errCredentials
	}
	parts := strings.SplitN(string(in), ",", 3) // n, or y, and the name to act as; the library has parsed them
	if len(parts) != 3 {
		return nil, nil, errCredentials
	}
	c.header, c.clientFirst, c.serverFirst = parts[0]+","+parts[1]+",", parts[2], answer
	return []byte(answer), nil, nil
}

// final takes the client's last message. The library requires that its nonce is that of the server.
// Kafka requires that it ends with what the server has added, and librdkafka before 2.10 repeats
// its own part.
func (c *scramConversation) final(message string) (out []byte, who *Principal, err error) {
	unproved, proof, ok := strings.Cut(message, ",p=")
	fields := strings.Split(unproved, ",")
	if !ok || len(fields) < 2 || fields[0] != "c="+base64.StdEncoding.EncodeToString([]byte(c.header)) {
		return nil, nil, errCredentials
	}
	nonce, _, _ := strings.Cut(strings.TrimPrefix(c.serverFirst, "r="), ",")
	_, mine, _ := strings.Cut(c.clientFirst, ",r=")
	mine, _, _ = strings.Cut(mine, ",")
	given, isNonce := strings.CutPrefix(fields[1], "r=")
	added, begins := strings.CutPrefix(nonce, mine)
	if !isNonce || !begins || len(added) < minNonce || given != nonce && given != mine+nonce {
		return nil, nil, errCredentials
	}
	sum := func(key []byte) []byte {
		mac := hmac.New(hashOf(c.keys.Mechanism), key)
		mac.Write([]byte(c.clientFirst + "," + c.serverFirst + "," + unproved))
		return mac.Sum(nil)
	}
	key, err := base64.StdEncoding.DecodeString(proof)
	signature := sum(c.keys.Stored)
	if err != nil || len(key) != len(signature) {
		return nil, nil, errCredentials
	}
	subtle.XORBytes(key, key, signature)
	stored := hashOf(c.keys.Mechanism)()
	stored.Write(key)
	if subtle.ConstantTimeCompare(stored.Sum(nil), c.keys.Stored) != 1 {
		return nil, nil, errCredentials
	}
	if c.user.Name == "" || c.AuthzID() != "" && c.AuthzID() != c.Username() {
		return nil, nil, errCredentials
	}
	return []byte("v=" + base64.StdEncoding.EncodeToString(sum(c.keys.Server))), c.g.principal(c.user), nil
}

// minNonce is the least that the server adds to a nonce, in bytes.
const minNonce = 16
