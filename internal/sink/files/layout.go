package files

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"

	"weir.example/weir/internal/column"
	"weir.example/weir/internal/moment"
)

// fileName returns the name of a file: <table>-<partition>-<offset of its first row>.<format>. With
// the offset padded as in Kafka's segments, names of a partition sort by offset.
func (t *Target) fileName(partition int32, first int64) string {
	return fmt.Sprintf("%s-%d-%020d.%s", t.table.Name, partition, first, t.files.Format)
}

// isOwn reports whether a file has a name that fileName returns.
func (t *Target) isOwn(name string) bool { return isOwnName(name, t.table.Name) }

// isOwnName reports whether the sink of a table gives such names to files.
func isOwnName(name, table string) bool {
	rest, ok := strings.CutPrefix(name, table+"-")
	return ok && ownName.MatchString(rest)
}

var ownName = regexp.MustCompile(`^[0-9]{1,10}-[0-9]{20}\.(parquet|json|csv)$`)

// partitionOf returns the partition of the topic whose rows a file has, by its name.
func partitionOf(name string) int32 {
	parts := strings.Split(name, "-")
	if len(parts) < 2 {
		return -1
	}
	n, err := strconv.ParseInt(parts[len(parts)-2], 10, 32)
	if err != nil {
		return -1
	}
	return int32(n)
}

// nullDirectory is Hive's name for NULL.
const nullDirectory = "__DEFAULT_PARTITION__"

// maxName is the limit of common file systems, in bytes.
const maxName = 255

// maxKey is the limit of object stores, in bytes.
const maxKey = 1024

// directory returns the directory of a row, relative and with slashes: dt=2026-11-29/site=a.
func (t *Target) directory(cols []*column.Column, partitioned []int, row int) (string, error) {
	var path strings.Builder
	for k, i := range partitioned {
		name := t.table.Columns[t.table.Partitioned[k]].Name
		value, err := directoryValue(cols[i], row)
		if err != nil {
			return "", fmt.Errorf("column %s: %w", name, err)
		}
		one := escapeName(name) + "=" + value
		if len(one) > maxName {
			return "", fmt.Errorf("column %s: the value is too long for the name of a directory (%d bytes of %d)", name, len(one), maxName)
		}
		path.WriteString(one + "/")
	}
	if limit := maxKey - len(t.files.Path) - len("/") - len(t.fileName(math.MaxInt32, 0)); t.files.Bucket != nil && path.Len() > limit {
		return "", fmt.Errorf("the values of PARTITIONED BY are too long for the key of an object (%d bytes of %d)", path.Len(), limit)
	}
	return path.String(), nil
}

var (
	errEmptyName   = errors.New("the empty string can't be the name of a directory, which would be that of NULL")
	errDefaultName = errors.New("the value " + nullDirectory + " is the name of the directory of NULL")
)

func directoryValue(c *column.Column, row int) (string, error) {
	if c.Null[row] {
		return nullDirectory, nil
	}
	switch c.Type.Kind {
	case column.String:
		switch s := c.S[row]; s {
		case "":
			return "", errEmptyName
		case nullDirectory:
			return "", errDefaultName
		default:
			return escapeName(s), nil
		}
	case column.Boolean:
		return strconv.FormatBool(c.I[row] != 0), nil
	case column.Date:
		return moment.FormatDate(c.I[row]), nil
	}
	return strconv.FormatInt(c.I[row], 10), nil
}

// escapeName escapes what Hive does not allow in names of directories (Flink's PartitionPathUtils).
func escapeName(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == 0x7f || strings.IndexByte("\"#%'*/:=?\\{[]^", c) >= 0 {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}
