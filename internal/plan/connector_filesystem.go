package plan

import (
	"math"
	"net/url"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"weir.example/weir/internal/column"
	"weir.example/weir/internal/format"
	"weir.example/weir/internal/secret"
	"weir.example/weir/internal/sql"
)

// filesystem is the connector filesystem: a directory of files to which INSERTs append rows.
type filesystem struct{}

// Files are the files of a table.
type Files struct {
	Path        string  // of the directory, or that of the objects in the bucket, without slashes around it
	Bucket      *Bucket // nil for a directory
	Format      string  // parquet, json or csv
	Options     format.Options
	Compression string // of parquet: SNAPPY, GZIP, ZSTD or UNCOMPRESSED

	// A file is complete when the rows read for it have this size in the topic, or the first of
	// them has waited for this long.
	Bytes    int
	Interval time.Duration
}

// Bucket is where a table has its files in an S3-compatible object store. Its keys may refer to
// secrets. What is empty comes from the environment of the process.
type Bucket struct {
	Name      string
	Endpoint  string // URL
	Region    string
	PathStyle bool // https://ENDPOINT/BUCKET/… instead of https://BUCKET.ENDPOINT/…

	AccessKey, SecretKey, SessionToken string
}

func (f *Files) String() string { return f.Format + " files in " + f.Location() }

// Location returns the directory, or the URL of the place in the bucket.
func (f *Files) Location() string {
	if f.Bucket == nil {
		return f.Path
	}
	return "s3://" + path.Join(f.Bucket.Name, f.Path)
}

// Defaults and limits of the rolling policy. Rows that wait for their file are in memory.
const (
	rollBytes    = 128 << 20
	maxRollBytes = 1 << 30
	rollInterval = 30 * time.Minute
	maxRoll      = 24 * time.Hour
)

var (
	fileFormats  = []string{"parquet", "json", "csv"}
	compressions = []string{"SNAPPY", "GZIP", "ZSTD", "UNCOMPRESSED"}
)

// options implements connector.
func (filesystem) options() []option {
	const cluster = "A setting of Weir; in Flink it belongs to the cluster's configuration."
	return []option{
		connectorOption,
		{key: "path", kind: textOption, otherwise: required, about: "The directory: an absolute path, file:///PATH or s3://BUCKET/PREFIX."},
		{key: "format", kind: enumOption, values: fileFormats, otherwise: required, about: "The format of the files."},
		{key: "parquet.compression", kind: enumOption, values: compressions, about: "How columns of Parquet files are compressed."},
		{key: "sink.rolling-policy.file-size", kind: sizeOption, otherwise: "128 MB", about: "The size after which a file is complete, at most 1 GB."},
		{key: "sink.rolling-policy.rollover-interval", kind: durationOption, otherwise: "30 min", about: "The time after which a file is complete, from 1 s to 24 h."},
		ignore("sink.rolling-policy.check-interval", durationOption, "How often Flink looks for files that are complete."),
		ignore("sink.parallelism", integerOption, "Flink's number of parallel writers."),
		ignore("source.monitor-interval", durationOption, "Flink's reading of files; Weir only writes them."),
		ignore("source.path.regex-pattern", textOption, "Flink's reading of files; Weir only writes them."),
		{key: "s3.endpoint", kind: textOption, onlyWeir: true, about: "The address of the object store; without it that of the environment, or AWS. " + cluster},
		{key: "s3.region", kind: textOption, onlyWeir: true, about: "The region of the bucket. " + cluster},
		{key: "s3.path.style.access", kind: booleanOption, values: []string{"false", "true"}, onlyWeir: true, about: "Whether the bucket is in the path instead of the host name. " + cluster},
		{key: "s3.access-key", kind: textOption, onlyWeir: true, about: "The access key, which may refer to a secret; without it that of the environment. " + cluster},
		{key: "s3.secret-key", kind: textOption, onlyWeir: true, about: "The secret of the access key. " + cluster},
		{key: "s3.session-token", kind: textOption, onlyWeir: true, about: "The token of temporary keys. " + cluster},
	}
}

func (filesystem) metadata() map[string]metadata { return nil }

func (filesystem) bind(t *Table, o *options) (err error) {
	f := &Files{Bytes: rollBytes, Interval: rollInterval}
	if err := f.bindPath(t, o); err != nil {
		return err
	}
	if !o.has("format") {
		return sql.Errorf(t, "table %s has no option 'format'", t.Name).WithHint("use %s", strings.Join(fileFormats, " or "))
	}
	if f.Format, err = o.one("format"); err != nil {
		return err
	}
	if err := f.bindFormat(o); err != nil {
		return err
	}
	if size := o.get("sink.rolling-policy.file-size"); size != "" {
		if f.Bytes, err = ParseSize(size); err != nil || f.Bytes > maxRollBytes {
			return o.bad("sink.rolling-policy.file-size", "write a size such as 64 MB, at most 1 GB: the rows of a file are in memory until it is complete")
		}
	}
	if interval := o.get("sink.rolling-policy.rollover-interval"); interval != "" {
		if f.Interval, err = ParseDuration(interval); err != nil || f.Interval < time.Second || f.Interval > maxRoll {
			return o.bad("sink.rolling-policy.rollover-interval", "write a duration such as 5 min, from 1 s to 24 h")
		}
	}
	if t.PrimaryKey != nil {
		return sql.Errorf(t, "table %s: the filesystem connector can't have a PRIMARY KEY: rows of files can't be replaced", t.Name).
			WithHint("leave it out, or use the connector jdbc or upsert-kafka")
	}
	if !resultName.MatchString(t.Name) {
		return sql.Errorf(t, "table %s: the name can't be part of the topic through which its rows pass, and of names of files", t.Name).
			WithHint("use letters, digits, _ and -; 'path' has the name of the directory")
	}
	t.Delivery = f
	if err := t.setResultFormats(o.name); err != nil {
		return err
	}
	return f.check(t)
}

// bindPath binds the option 'path' and those of an object store.
func (f *Files) bindPath(t *Table, o *options) error {
	text := o.get("path")
	if text == "" {
		return sql.Errorf(t, "table %s has no option 'path'", t.Name)
	}
	scheme, _, ok := strings.Cut(text, ":/")
	if !ok {
		scheme = ""
	}
	f.Path = text
	switch {
	case slices.Contains(bucketSchemes, scheme):
		return f.bindBucket(t, o)
	case scheme == "file":
		u, err := url.Parse(text)
		if err != nil || u.Host != "" && u.Host != "localhost" || u.RawQuery != "" || u.Fragment != "" {
			return o.bad("path", "write file:///DIRECTORY, or the path alone")
		}
		f.Path = u.Path
	case len(scheme) > 1: // one letter is a drive
		return o.bad("path", "write file:///DIRECTORY or s3://BUCKET/PREFIX. To have the files in another store, copy complete files there, for example with rclone")
	}
	if !filepath.IsAbs(f.Path) {
		return o.bad("path", "write an absolute path: where a process is started must not decide where it goes on")
	}
	f.Path = filepath.Clean(f.Path)
	for key, option := range o.all {
		if strings.HasPrefix(key, "s3.") {
			return sql.Errorf(option, "option '%s' belongs to a 'path' that begins with s3://", key)
		}
	}
	return nil
}

// bucketSchemes begin paths of objects. Flink's file systems differ by them; the objects do not.
var bucketSchemes = []string{"s3", "s3a", "s3p"}

// bucketName matches what S3 allows.
var bucketName = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)

// maxPrefix leaves room for the names of directories and files in a key of 1,024 bytes.
const maxPrefix = 512

func (f *Files) bindBucket(t *Table, o *options) (err error) {
	_, rest, _ := strings.Cut(f.Path, "://")
	name, prefix, _ := strings.Cut(rest, "/")
	prefix = strings.Trim(prefix, "/")
	if !bucketName.MatchString(name) || prefix != "" && path.Clean("/"+prefix) != "/"+prefix || len(prefix) > maxPrefix || strings.ContainsAny(prefix, "?#") {
		return o.bad("path", "write s3://BUCKET/PREFIX, with a prefix of at most 512 bytes and without empty parts, '.', '..', '?' and '#'")
	}
	b := &Bucket{
		Name: name, Endpoint: o.get("s3.endpoint"), Region: o.get("s3.region"),
		AccessKey: o.get("s3.access-key"), SecretKey: o.get("s3.secret-key"), SessionToken: o.get("s3.session-token"),
	}
	if (b.AccessKey == "") != (b.SecretKey == "") || b.SessionToken != "" && b.AccessKey == "" {
		return sql.Errorf(t, "table %s: the options 's3.access-key' and 's3.secret-key' must be set together", t.Name).
			WithHint("without both, the credentials are those of the environment (AWS_ACCESS_KEY_ID, AWS_PROFILE, the role of the machine)")
	}
	if b.Endpoint != "" && !secret.Refers(b.Endpoint) {
		if u, err := url.Parse(b.Endpoint); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" {
			return sql.Errorf(o.all["s3.endpoint"].ValuePos, "table %s: the option 's3.endpoint' is not the address of a server", t.Name).WithHint("write http://HOST:PORT or https://HOST:PORT")
		}
	}
	style, err := o.one("s3.path.style.access")
	f.Path, f.Bucket, b.PathStyle = prefix, b, style == "true"
	return err
}

func (f *Files) bindFormat(o *options) (err error) {
	if f.Compression, err = o.one("parquet.compression"); err != nil {
		return err
	}
	if o.has("parquet.compression") && f.Format != "parquet" {
		return sql.Errorf(o.all["parquet.compression"], "option 'parquet.compression' belongs to another format than %s", f.Format)
	}
	f.Options = make(format.Options)
	if f.Format != "json" {
		return nil
	}
	for key, option := range o.all {
		if name, ok := strings.CutPrefix(key, "json."); ok {
			o.read[key] = true
			f.Options[name] = option.Value
		}
	}
	return nil
}

// check refuses columns that the files can't have.
func (f *Files) check(t *Table) error {
	for _, i := range t.Partitioned {
		switch c := t.Columns[i]; c.Type.Kind {
		case column.String, column.TinyInt, column.SmallInt, column.Int, column.BigInt, column.Boolean, column.Date:
		default:
			return sql.Errorf(t, "column %s of PARTITIONED BY is %s, which can't be the name of a directory", c.Name, c.Type.Nullable(true)).
				WithHint("use STRING, DATE, BOOLEAN or an integer, for example CAST(ts AS DATE)")
		}
	}
	if len(t.Partitioned) == len(t.Kafka.Value.Columns) {
		return sql.Errorf(t, "table %s has only columns of PARTITIONED BY, so its files would have none", t.Name).WithHint("add a column")
	}
	for i, c := range t.Kafka.Value.Columns {
		of := t.Kafka.Value.Fields[i].Type
		if f.Format == "csv" && of.Nested() {
			return sql.Errorf(t, "column %s of %s is %s, which csv files can't have", t.Columns[c].Name, t.Name, of.Nullable(true)).WithHint("use the format parquet or json")
		}
	}
	if f.Format == "json" {
		if err := format.Check("json", t.Kafka.Value.Fields, f.Options); err != nil {
			return sql.Errorf(t, "table %s, format json: %s", t.Name, err)
		}
	}
	return nil
}

// setPartitioned binds PARTITIONED BY.
func (t *Table) setPartitioned(columns []sql.Ident, c connector) error {
	if columns == nil {
		return nil
	}
	if _, ok := c.(filesystem); !ok {
		hint := "topics are partitioned by key: set 'key.format' and 'key.fields'"
		if _, ok := c.(jdbc); ok {
			hint = "partition the table in the database"
		}
		return sql.Errorf(columns[0], "table %s can't have PARTITIONED BY: only the connector filesystem supports it", t.Name).WithHint("%s", hint)
	}
	for _, name := range columns {
		i := t.index(name.Name)
		if i < 0 || !t.Columns[i].Physical() {
			return sql.Errorf(name, "column %s of PARTITIONED BY is not a physical column of %s", name.Name, t.Name)
		}
		if slices.Contains(t.Partitioned, i) {
			return sql.Errorf(name, "PARTITIONED BY lists column %s twice", name.Name)
		}
		t.Partitioned = append(t.Partitioned, i)
	}
	return nil
}

var (
	sizeText  = regexp.MustCompile(`^\s*([0-9]{1,12})\s*([a-zA-Z]*)\s*$`)
	sizeUnits = map[string]int{
		"": 1, "b": 1, "bytes": 1, "k": 1 << 10, "kb": 1 << 10, "kibibytes": 1 << 10, "m": 1 << 20, "mb": 1 << 20, "mebibytes": 1 << 20, "g": 1 << 30, "gb": 1 << 30, "gibibytes": 1 << 30,
	}
)

// ParseSize parses a size as Flink's MemorySize does: 64 MB is 64 * 1024 * 1024.
func ParseSize(text string) (int, error) {
	m := sizeText.FindStringSubmatch(text)
	if m == nil {
		return 0, strconv.ErrSyntax
	}
	n, err := strconv.Atoi(m[1])
	unit := sizeUnits[strings.ToLower(m[2])]
	if err != nil || unit == 0 || n < 1 || n > math.MaxInt/unit {
		return 0, strconv.ErrSyntax
	}
	return n * unit, nil
}
