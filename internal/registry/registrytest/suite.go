// Package registrytest is the test suite for any schema registry that Weir uses. It runs on the
// embedded registry and on a real one.
package registrytest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// Target is a registry under test. Subjects have a prefix, so the registry need not be empty.
type Target struct {
	URL    string
	Prefix string

	// Differs lists known differences from Confluent's documentation: the actual response by step
	// name. It is also an error if the response to a listed step is as documented.
	Differs map[string]string
}

// step is a request and its expected response: status, error code, or a text with %d for the ids
// that earlier steps received.
type step struct {
	name   string
	method string
	path   string // with SUBJECT for the prefix
	body   any
	want   string // "200", or "404 40401"; optionally followed by text that the response must contain
}

type body = map[string]any

const (
	v1 = `{"type":"record","name":"Reading","namespace":"suite","fields":[{"name":"device","type":"string"}]}`
	v2 = `{"type":"record","name":"Reading","namespace":"suite","fields":[{"name":"device","type":"string"},{"name":"unit","type":"string","default":""}]}`
	v3 = `{"type":"record","name":"Reading","namespace":"suite","fields":[{"name":"device","type":"string"},{"name":"must","type":"string"}]}`

	protoV1  = "syntax = \"proto3\";\npackage suite;\n\nmessage Reading {\n  string device = 1;\n  int32 n = 2;\n}\n"
	protoV2  = "syntax = \"proto3\";\npackage suite;\n\nmessage Reading {\n  string device = 1;\n  int64 n = 2;\n  string unit = 3;\n}\n"
	protoBad = "syntax = \"proto3\";\npackage suite;\n\nmessage Reading {\n  string device = 1;\n  string n = 2;\n}\n"

	jsonV1  = `{"type":"object","properties":{"device":{"type":"string"}},"additionalProperties":false}`
	jsonV2  = `{"type":"object","properties":{"device":{"type":"string"},"unit":{"type":"string"}},"additionalProperties":false}`
	jsonBad = `{"type":"object","properties":{"device":{"type":"number"}},"additionalProperties":false}`
)

func steps() []step {
	avro := func(text string) body { return body{"schema": text} }
	typed := func(kind, text string) body { return body{"schema": text, "schemaType": kind} }
	a, p, j, r := "/subjects/SUBJECTa/versions", "/subjects/SUBJECTp/versions", "/subjects/SUBJECTj/versions", "/subjects/SUBJECTr/versions"
	return []step{
		{"set the global level", "PUT", "/config", body{"compatibility": "BACKWARD"}, `200 "compatibility":"BACKWARD"`},
		{"no such subject", "GET", a, nil, "404 40401"},
		{"no such subject's version", "GET", a + "/1", nil, "404 40401"},
		{"no such id", "GET", "/schemas/ids/2000000000", nil, "404 40403"},
		{"lookup in no such subject", "POST", "/subjects/SUBJECTa", avro(v1), "404 40401"},
		{"register", "POST", a, avro(v1), `200 "id":`},
		{"register again", "POST", a, avro(" " + strings.ReplaceAll(v1, ",", ", ")), `200 "id":`},
		{"one version", "GET", a, nil, "200 [1]"},
		{"lookup", "POST", "/subjects/SUBJECTa", avro(v1), `200 "version":1`},
		{"lookup of another", "POST", "/subjects/SUBJECTa", avro(v2), "404 40403"},
		{"check of a good one", "POST", "/compatibility" + a + "/latest?verbose=true", avro(v2), `200 "is_compatible":true`},
		{"check of a bad one", "POST", "/compatibility" + a + "/latest?verbose=true", avro(v3), `200 "is_compatible":false`},
		{"check says why", "POST", "/compatibility" + a + "/latest?verbose=true", avro(v3), `200 READER_FIELD_MISSING_DEFAULT_VALUE`},
		{"check against all", "POST", "/compatibility" + a, avro(v3), `200 "is_compatible":false`},
		{"check against no such version", "POST", "/compatibility" + a + "/77", avro(v2), "404 40402"},
		{"check without a subject", "POST", "/compatibility/subjects/SUBJECTnone/versions/latest", avro(v2), `200 "is_compatible":true`},
		{"incompatible", "POST", a, avro(v3), "409 409"},
		{"still one version", "GET", a, nil, "200 [1]"},
		{"second version", "POST", a, avro(v2), `200 "id":`},
		{"two versions", "GET", a, nil, "200 [1,2]"},
		{"latest", "GET", a + "/latest", nil, `200 "version":2`},
		{"latest by -1", "GET", a + "/-1", nil, `200 "version":2`},
		{"text of a version", "GET", a + "/1/schema", nil, "200 " + v1},
		{"no such version", "GET", a + "/3", nil, "404 40402"},
		{"version 0", "GET", a + "/0", nil, "422 42202"},
		{"version that is none", "GET", a + "/first", nil, "422 42202"},
		{"invalid schema", "POST", a, avro(`{"type":"recor"}`), "422 42201"},
		{"no JSON", "POST", a, avro(`record`), "422 42201"},
		{"empty schema", "POST", "/subjects/SUBJECTempty/versions", avro(``), "422 42201"},
		{"unknown type", "POST", a, typed("THRIFT", `struct A {}`), "422 42201"},
		{"types", "GET", "/schemas/types", nil, `200 PROTOBUF`},

		{"no level of its own", "GET", "/config/SUBJECTa", nil, "404 40408"},
		{"the global level", "GET", "/config/SUBJECTa?defaultToGlobal=true", nil, `200 "compatibilityLevel":"BACKWARD"`},
		{"unknown level", "PUT", "/config/SUBJECTa", body{"compatibility": "SIDEWARD"}, "422 42203"},
		{"forward", "PUT", "/config/SUBJECTa", body{"compatibility": "FORWARD"}, `200 "compatibility":"FORWARD"`},
		{"its own level", "GET", "/config/SUBJECTa", nil, `200 "compatibilityLevel":"FORWARD"`},
		{"compatible forward", "POST", "/compatibility" + a + "/latest", avro(v3), `200 "is_compatible":true`},
		{"none", "PUT", "/config/SUBJECTa", body{"compatibility": "NONE"}, `200 "compatibility":"NONE"`},
		{"anything goes", "POST", a, avro(`"string"`), `200 "id":`},
		{"level taken away", "DELETE", "/config/SUBJECTa", nil, `200`},
		{"no level any more", "GET", "/config/SUBJECTa", nil, "404 40408"},

		{"register Protobuf", "POST", p, typed("PROTOBUF", protoV1), `200 "id":`},
		{"type of a version", "GET", p + "/1", nil, `200 "schemaType":"PROTOBUF"`},
		{"Protobuf second version", "POST", p, typed("PROTOBUF", protoV2), `200 "id":`},
		{"Protobuf incompatible", "POST", p, typed("PROTOBUF", protoBad), "409 409"},
		{"Protobuf invalid", "POST", p, typed("PROTOBUF", "message {"), "422 42201"},
		{"register JSON Schema", "POST", j, typed("JSON", jsonV1), `200 "id":`},
		{"JSON Schema second version", "POST", j, typed("JSON", jsonV2), `200 "id":`},
		{"JSON Schema incompatible", "POST", j, typed("JSON", jsonBad), "409 409"},
		{"another type than before", "POST", j, avro(v1), "409 409"},
		{"JSON Schema invalid", "POST", j, typed("JSON", `{"type":"text"}`), "422 42201"},

		{"reference", "POST", r, body{
			"schema":     `{"type":"record","name":"Box","namespace":"suite","fields":[{"name":"reading","type":"suite.Reading"}]}`,
			"references": []body{{"name": "suite.Reading", "subject": "SUBJECTa", "version": 1}},
		}, `200 "id":`},
		{"references of a version", "GET", r + "/1", nil, `200 "name":"suite.Reading"`},
		{"reference to nothing", "POST", r, body{
			"schema":     `{"type":"record","name":"Box","namespace":"suite","fields":[{"name":"reading","type":"suite.Other"}]}`,
			"references": []body{{"name": "suite.Other", "subject": "SUBJECTnone", "version": 1}},
		}, "422 42201"},
		{"who refers to it", "GET", a + "/1/referencedby", nil, "200 ["},
		{"what is referred to stays", "DELETE", a + "/1", nil, "422 42206"},

		{"delete for good first", "DELETE", a + "/2?permanent=true", nil, "404 40407"},
		{"delete a version", "DELETE", a + "/2", nil, "200 2"},
		{"a deleted version", "GET", a + "/2", nil, "404 40402"},
		{"a deleted version, asked for", "GET", a + "/2?deleted=true", nil, `200 "version":2`},
		{"delete a deleted version", "DELETE", a + "/2", nil, "404 40406"},
		{"delete a version for good", "DELETE", a + "/2?permanent=true", nil, "200 2"},
		{"a version that is gone", "DELETE", a + "/2", nil, "404 40402"},
		{"delete no such subject", "DELETE", "/subjects/SUBJECTnone", nil, "404 40401"},
		{"delete a subject for good first", "DELETE", "/subjects/SUBJECTj?permanent=true", nil, "404 40405"},
		{"delete a subject", "DELETE", "/subjects/SUBJECTj", nil, "200 [1,2]"},
		{"a deleted subject", "GET", j, nil, "404 40401"},
		{"delete a deleted subject", "DELETE", "/subjects/SUBJECTj", nil, "404 40404"},
		{"delete a subject for good", "DELETE", "/subjects/SUBJECTj?permanent=true", nil, "200 [1,2]"},
		{"a subject that is gone", "DELETE", "/subjects/SUBJECTj?permanent=true", nil, "404 40401"},
	}
}

// Run runs the suite.
func Run(t *testing.T, target Target) {
	t.Helper()
	known := slices.Collect(func(yield func(string) bool) {
		for _, s := range steps() {
			if !yield(s.name) {
				return
			}
		}
	})
	for name := range target.Differs {
		if !slices.Contains(known, name) {
			t.Errorf("no step is named %q", name)
		}
	}
	for _, s := range steps() { // each builds on the previous ones
		got, text := target.do(t, s)
		want, differs := target.Differs[s.name]
		switch documented := fits(s.want, got, text); {
		case differs && documented:
			t.Errorf("%s: answers as documented; it is listed with %q", s.name, want)
		case differs && !fits(want, got, text):
			t.Errorf("%s: %s %s: got %s %s, listed with %q", s.name, s.method, s.path, got, text, want)
		case !differs && !documented:
			t.Errorf("%s: %s %s: got %s %s, want %q", s.name, s.method, s.path, got, text, s.want)
		}
	}
	t.Run("ids", func(t *testing.T) { ids(t, target) })
}

// do sends a request, and returns status and error code, and the response body without white space
// outside of strings.
func (target Target) do(t *testing.T, s step) (code, text string) {
	t.Helper()
	subject := func(text string) string { return strings.ReplaceAll(text, "SUBJECT", target.Prefix) }
	var content io.Reader
	if s.body != nil {
		b, err := json.Marshal(s.body)
		if err != nil {
			t.Fatal(err)
		}
		content = strings.NewReader(subject(string(b)))
	}
	req, err := http.NewRequestWithContext(t.Context(), s.method, target.URL+subject(s.path), content)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/vnd.schemaregistry.v1+json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var refused struct {
		Code int `json:"error_code"`
	}
	code = fmt.Sprint(resp.StatusCode)
	if json.Unmarshal(b, &refused) == nil && refused.Code != 0 {
		code += fmt.Sprintf(" %d", refused.Code)
	}
	var compact bytes.Buffer
	if json.Compact(&compact, b) == nil {
		b = compact.Bytes()
	}
	return code, strings.TrimSpace(string(b))
}

// fits reports whether a response has the expected code and text.
func fits(want, code, text string) bool {
	rest, ok := strings.CutPrefix(want, code)
	return ok && (rest == "" || strings.Contains(text, strings.TrimSpace(rest)) && rest[0] == ' ')
}

// ids: equal schemas share an id in all subjects, and ids are not reused.
func ids(t *testing.T, target Target) {
	register := func(subject, schema string) int {
		t.Helper()
		code, text := target.do(t, step{method: "POST", path: "/subjects/SUBJECT" + url.PathEscape(subject) + "/versions", body: body{"schema": schema}})
		var answer struct{ ID int }
		if err := json.Unmarshal([]byte(text), &answer); err != nil || code != "200" || answer.ID == 0 {
			t.Fatalf("register under %s: %s %s", subject, code, text)
		}
		return answer.ID
	}
	text := func(n int) string {
		return fmt.Sprintf(`{"type":"record","name":"%sN%d","fields":[]}`, strings.NewReplacer("-", "").Replace(target.Prefix), n)
	}
	one, two := register("ids/1 é", text(1)), register("ids2", text(1))
	if one != two {
		t.Errorf("one schema has ids %d and %d", one, two)
	}
	code, answer := target.do(t, step{method: "GET", path: fmt.Sprintf("/schemas/ids/%d", one)})
	var schema struct{ Schema string }
	if err := json.Unmarshal([]byte(answer), &schema); err != nil || code != "200" || schema.Schema != text(1) {
		t.Errorf("schema %d: %s %s", one, code, answer)
	}
	last := register("ids3", text(2))
	for _, permanent := range []string{"", "?permanent=true"} {
		if code, answer := target.do(t, step{method: "DELETE", path: "/subjects/SUBJECTids3" + permanent}); code != "200" {
			t.Errorf("delete%s: %s %s", permanent, code, answer)
		}
	}
	if next := register("ids4", text(3)); next == last || next == one {
		t.Errorf("id %d is reused", next)
	}
}
