package embedded

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
)

// apiError is an error with the message and code of Confluent's registry:
// https://docs.confluent.io/platform/current/schema-registry/develop/api.html#errors
type apiError struct {
	Code    int    `json:"error_code"` // the status, or the status and two digits
	Message string `json:"message"`
}

func (e *apiError) Error() string { return fmt.Sprintf("%s (%d)", e.Message, e.Code) }

// status returns the HTTP status, which the code starts with.
func (e *apiError) status() int {
	if e.Code > 999 {
		return e.Code / 100
	}
	return e.Code
}

func refuse(code int, format string, args ...any) *apiError {
	return &apiError{Code: code, Message: fmt.Sprintf(format, args...)}
}

func errSubjectNotFound(subject string) *apiError {
	return refuse(40401, "Subject '%s' not found.", subject)
}

func errVersionNotFound(version int) *apiError {
	return refuse(40402, "Version %d not found.", version)
}

func errSchemaNotFound(id int) *apiError { return refuse(40403, "Schema %d not found", id) }

func errLookupNotFound() *apiError { return refuse(40403, "Schema not found") }

func errSubjectDeleted(subject string) *apiError {
	return refuse(40404, "Subject '%s' was soft deleted. Set permanent=true to delete permanently", subject)
}

func errSubjectNotDeleted(subject string) *apiError {
	return refuse(40405, "Subject '%s' was not deleted first before being permanently deleted", subject)
}

func errVersionDeleted(subject string, version int) *apiError {
	return refuse(40406, "Subject '%s' Version %d was soft deleted. Set permanent=true to delete permanently", subject, version)
}

func errVersionNotDeleted(subject string, version int) *apiError {
	return refuse(40407, "Subject '%s' Version %d was not deleted first before being permanently deleted", subject, version)
}

func errNoLevel(subject string) *apiError {
	return refuse(40408, "Subject '%s' does not have subject-level compatibility configured", subject)
}

func errNoMode(subject string) *apiError {
	return refuse(40409, "Subject '%s' does not have subject-level mode configured", subject)
}

func errIncompatible(subject string, details []string) *apiError {
	text, err := json.Marshal(details)
	if err != nil {
		text = nil // strings always encode
	}
	return refuse(409, "Schema being registered is incompatible with an earlier schema for subject %q, details: %s", subject, text)
}

func errInvalidSchema(reason string) *apiError { return refuse(42201, "Invalid schema: %s", reason) }

func errInvalidVersion(version string) *apiError {
	return refuse(42202, "The specified version '%s' is not a valid version id. Allowed values are between [1, 2^31-1] and the string \"latest\"", version)
}

func errInvalidLevel() *apiError {
	return refuse(42203, "Invalid compatibility level. Valid values are none, backward, forward, full, backward_transitive, forward_transitive, and full_transitive")
}

func errInvalidMode() *apiError {
	return refuse(42204, "Invalid mode. Valid values are READWRITE, READONLY, READONLY_OVERRIDE and IMPORT")
}

func errNotPermitted(format string, args ...any) *apiError { return refuse(42205, format, args...) }

func errReferenceExists(subject string, version int) *apiError {
	return refuse(42206, "One or more references exist to the schema {magic=1,keytype=SCHEMA,subject=%s,version=%d}.", subject, version)
}

func errInvalidSubject(subject string) *apiError {
	return refuse(42208, "The specified subject '%s' is not a valid.", subject)
}

func errTooLarge(limit int64) *apiError {
	return refuse(42209, "Schema is too large: a request has up to %d bytes", limit)
}

func errStore(err error) *apiError {
	return refuse(50001, "Error in the backend data store: %s", err)
}

const contentType = "application/vnd.schemaregistry.v1+json"

func write(w http.ResponseWriter, log *slog.Logger, status int, v any) {
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(status)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		log.Debug("registry: answer not sent", "err", err)
	}
}
