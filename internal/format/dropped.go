package format

// Dropped counts data dropped without an error because of format options.
type Dropped struct {
	Records int64 // json.ignore-parse-errors: documents skipped, as a whole or from the first error on
	Values  int64 // json.ignore-parse-errors: fields and elements replaced by NULL
	Entries int64 // json.map-null-key.mode = DROP: map entries dropped
}

// Dropper is a Decoder or Encoder with options that drop data.
type Dropper interface {
	// Dropped returns the counts so far. The caller may reset them.
	Dropped() *Dropped
}

// Splitter is a Decoder whose documents may contain several rows.
type Splitter interface {
	// Split returns the documents of the individual rows in order, or false if data is itself the
	// document of a single row. The error reports that data is malformed; with ignore-parse-errors,
	// Split returns the rows before the error instead.
	Split(data []byte) (rows [][]byte, ok bool, err error)
}
