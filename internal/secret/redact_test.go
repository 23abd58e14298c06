package secret

import (
	"strings"
	"testing"
)

// No secret remains, and everything else does.
func TestRedact(t *testing.T) {
	for _, text := range []string{
		`'properties.sasl.jaas.config' = 'x.ScramLoginModule required username="weir" password="S3CRET";'`,
		`'value.avro-confluent.basic-auth.user-info'='me:S3CRET'`,
		`'properties.ssl.keystore.key' = '-----BEGIN PRIVATE KEY-----
S3CRET
-----END PRIVATE KEY-----'`,
		`'properties.ssl.key.password' = 'S3''CRET'`,
		`sasl.jaas.config=org.x.PlainLoginModule required username="a" password="S3CRET";`,
		`{"ssl.keystore.password":"S3CRET","topic":"kept"}`,
		`Connecting to http://me:S3CRET@registry:8081/subjects`,
		"-----BEGIN RSA PRIVATE KEY-----\nS3CRET\n-----END RSA PRIVATE KEY-----",
		`password = S3CRET, next`,
	} {
		got := Redact(text)
		if strings.Contains(got, "S3") || strings.Contains(got, "CRET") {
			t.Errorf("%s\nis shown as\n%s", text, got)
		}
		if again := Redact(got); again != got {
			t.Errorf("redacted twice it is another text:\n%s\n%s", got, again)
		}
	}
	for _, text := range []string{
		`'basic-auth.user-info' = 'me:${env:PASSWORD}'`, `'properties.ssl.key.password' = '${file:key}'`, `'value.avro-confluent.basic-auth.credentials-source' = 'USER_INFO'`, "http://registry:8081/subjects", `'topic' = 'passwords'`,
	} {
		if got := Redact(text); got != text {
			t.Errorf("%s\nhas no secret, and is shown as\n%s", text, got)
		}
	}
}
