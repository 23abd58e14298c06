"""Confluent's serializers and deserializers for Python, as a filter.

serdes.py write URL TOPIC    registers schemas, writes readings; a line each: format, payload in hex
serdes.py read URL TOPIC     reads such lines, writes what is in them as JSON
serdes.py alone URL TOPIC    the same, but reads Protobuf without the registry
"""

import faulthandler
import json
import sys

from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.schema_registry.json_schema import JSONDeserializer, JSONSerializer
from confluent_kafka.schema_registry.protobuf import ProtobufDeserializer, ProtobufSerializer
from confluent_kafka.serialization import MessageField, SerializationContext
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

AVRO = """{"type": "record", "name": "Reading", "namespace": "lab", "fields": [
  {"name": "device", "type": "string"}, {"name": "value", "type": "double"},
  {"name": "tags", "type": {"type": "map", "values": "string"}}, {"name": "note", "type": ["null", "string"], "default": null}]}"""

JSON = """{"$schema": "http://json-schema.org/draft-07/schema#", "title": "lab.Reading", "type": "object", "additionalProperties": false,
  "properties": {"device": {"type": "string"}, "value": {"type": "number"}, "note": {"type": ["string", "null"]},
    "tags": {"type": "object", "additionalProperties": {"type": "string"}}}, "required": ["device", "value"]}"""

READINGS = [
    {"device": "a", "value": 21.5, "tags": {}, "note": None},
    {"device": "b é 火", "value": -0.25, "tags": {"hall": "3"}, "note": "warm"},
]


# A registry that does not answer must not hold up the tests: the traceback shows the request.
faulthandler.dump_traceback_later(60, exit=True)


def protobuf_class():
    """The message lab.Outer.Reading, the second message within the second of its file: its path is not 0."""
    file = descriptor_pb2.FileDescriptorProto(name="lab/reading.proto", package="lab", syntax="proto3")
    file.message_type.add(name="First")
    outer = file.message_type.add(name="Outer")
    outer.nested_type.add(name="Before")
    reading = outer.nested_type.add(name="Reading")
    field = descriptor_pb2.FieldDescriptorProto
    reading.field.add(name="device", number=1, type=field.TYPE_STRING, label=field.LABEL_OPTIONAL)
    reading.field.add(name="value", number=2, type=field.TYPE_DOUBLE, label=field.LABEL_OPTIONAL)
    reading.field.add(name="note", number=3, type=field.TYPE_STRING, label=field.LABEL_OPTIONAL)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("lab.Outer.Reading"))


def write(client, topic, message):
    def context(name):
        return SerializationContext(f"{topic}-{name}", MessageField.VALUE)

    serializers = {
        "avro": AvroSerializer(client, AVRO),
        "json": JSONSerializer(JSON, client),
        "protobuf": ProtobufSerializer(message, client),
    }
    for name, serializer in serializers.items():
        for reading in READINGS:
            value = reading
            if name == "protobuf":
                value = message(device=reading["device"], value=reading["value"], note=reading["note"] or "")
            print(name, serializer(value, context(name)).hex())


def alone(client, topic, message):
    read(client, topic, message, ProtobufDeserializer(message, {"use.deprecated.format": False}))


def read(client, topic, message, protobuf=None):
    deserializers = {
        "avro": AvroDeserializer(client),
        "json": JSONDeserializer(None, schema_registry_client=client),
        "protobuf": protobuf or ProtobufDeserializer(message, schema_registry_client=client),
    }
    for line in sys.stdin:
        name, payload = line.split()
        context = SerializationContext(f"{topic}-{name}", MessageField.VALUE)
        value = deserializers[name](bytes.fromhex(payload), context)
        if name == "protobuf":
            value = {"device": value.device, "value": value.value, "note": value.note}
        print(name, json.dumps(value, ensure_ascii=False, sort_keys=True))


if __name__ == "__main__":
    {"write": write, "read": read, "alone": alone}[sys.argv[1]](SchemaRegistryClient({"url": sys.argv[2]}), sys.argv[3], protobuf_class())
