package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Signer signs requests as in https://www.standardwebhooks.com (v1, HMAC-SHA256).
type Signer struct{ key []byte }

// NewSigner returns a signer with a secret: whsec_ and at least 24 bytes in Base64.
func NewSigner(secret string) (*Signer, error) {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil {
		return nil, errors.New("the secret of signatures is not Base64, perhaps after whsec_")
	}
	const least = 24
	if len(key) < least {
		return nil, fmt.Errorf("the secret of signatures has %d bytes: use at least %d", len(key), least)
	}
	return &Signer{key}, nil
}

// Sign sets the headers webhook-id, webhook-timestamp and webhook-signature.
func (s *Signer) Sign(h http.Header, id string, at time.Time, body []byte) {
	seconds := strconv.FormatInt(at.Unix(), 10)
	mac := hmac.New(sha256.New, s.key)
	mac.Write([]byte(id + "." + seconds + "."))
	mac.Write(body)
	h.Set("Webhook-Id", id)
	h.Set("Webhook-Timestamp", seconds)
	h.Set("Webhook-Signature", "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
}
