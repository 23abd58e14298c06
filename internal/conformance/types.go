package conformance

import (
	"fmt"
	"strings"
)

// logicalType is a type in the gateway's notation.
type logicalType struct {
	Type        string       `json:"type"`
	Nullable    bool         `json:"nullable"`
	Precision   int          `json:"precision"`
	Scale       int          `json:"scale"`
	Length      int          `json:"length"`
	Resolution  string       `json:"resolution"`
	ElementType *logicalType `json:"elementType"`
	KeyType     *logicalType `json:"keyType"`
	ValueType   *logicalType `json:"valueType"`
	Fields      []struct {
		Name      string      `json:"name"`
		FieldType logicalType `json:"fieldType"`
	} `json:"fields"`
}

var shortNames = map[string]string{"INTEGER": "INT", "TIMESTAMP_WITHOUT_TIME_ZONE": "TIMESTAMP", "TIMESTAMP_WITH_LOCAL_TIME_ZONE": "TIMESTAMP_LTZ",
	"TIME_WITHOUT_TIME_ZONE": "TIME", "VARCHAR": "STRING", "CHAR": "STRING", "VARBINARY": "BYTES", "BINARY": "BYTES"}

// String returns the type in Weir's notation, without NOT NULL and the lengths of strings.
func (t logicalType) String() string {
	name := t.Type
	if short := shortNames[name]; short != "" {
		name = short
	}
	switch name {
	case "DECIMAL":
		return fmt.Sprintf("DECIMAL(%d, %d)", t.Precision, t.Scale)
	case "TIMESTAMP", "TIMESTAMP_LTZ", "TIME":
		return fmt.Sprintf("%s(%d)", name, t.Precision)
	case "ARRAY", "MULTISET":
		return name + "<" + t.ElementType.String() + ">"
	case "MAP":
		return "MAP<" + t.KeyType.String() + ", " + t.ValueType.String() + ">"
	case "ROW":
		var fields []string
		for _, f := range t.Fields {
			fields = append(fields, f.Name+" "+f.FieldType.String())
		}
		return "ROW<" + strings.Join(fields, ", ") + ">"
	}
	return name
}
