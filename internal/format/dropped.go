package format

// Dropped counts what an option of a format has dropped without an error.
type Dropped struct {
	Records int64 // json.ignore-parse-errors: documents that were left out, whole or from where they could not be read on
	Values  int64 // json.ignore-parse-errors: fields and elements that became NULL
	Entries int64 // json.map-null-key.mode = DROP: entries of maps
}

// Dropper is a Decoder or Encoder with options that leave something out.
type Dropper interface {
	// Dropped is what was left out so far. The caller may reset it.
	Dropped() *Dropped
}

// Splitter is a Decoder whose documents may contain several rows.
type Splitter interface {
	// Split returns the documents of the single rows, in their order, and false where data is the
	// document of one row itself. An error says that data can't be read to its end; with
	// ignore-parse-errors the rows before that place are returned instead.
	Split(data []byte) (rows [][]byte, ok bool, err error)
}
