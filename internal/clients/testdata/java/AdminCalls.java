import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.stream.Collectors;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.ElectionType;
import org.apache.kafka.common.KafkaFuture;
import org.apache.kafka.common.TopicCollection;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.TopicPartitionReplica;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.acl.*;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.quota.*;
import org.apache.kafka.common.resource.*;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * Makes every call of Java's AdminClient and prints one line per answer: its name, a tab, and the
 * answer or the class of the error. Ids, addresses and times are normalised, so that the output of
 * two brokers can be compared line by line. Argument: the bootstrap address.
 */
public final class AdminCalls {
    private final String brokers;
    private final Admin admin;
    private int node;
    private String cluster;

    private AdminCalls(String brokers) {
        this.brokers = brokers;
        admin = Admin.create(Map.of(
            AdminClientConfig.BOOTSTRAP_SERVERS_CONFIG, brokers,
            AdminClientConfig.DEFAULT_API_TIMEOUT_MS_CONFIG, 8000,
            AdminClientConfig.REQUEST_TIMEOUT_MS_CONFIG, 4000,
            AdminClientConfig.ENABLE_METRICS_PUSH_CONFIG, true));
    }

    public static void main(String[] args) throws Exception {
        AdminCalls calls = new AdminCalls(args[0]);
        calls.cluster();
        calls.topics();
        calls.records();
        calls.configs();
        calls.groups();
        calls.otherGroups();
        calls.transactions();
        calls.security();
        calls.replicas();
        calls.deletions();
        calls.admin.close(Duration.ofSeconds(1));
        System.exit(0);
    }

    private void ask(String name, Callable<Object> call) {
        String answer;
        try {
            answer = show(call.call());
        } catch (ExecutionException e) {
            answer = "error " + e.getCause().getClass().getSimpleName();
        } catch (Exception e) {
            answer = "exception " + e.getClass().getSimpleName();
        }
        System.out.println(name + "\t" + normal(answer));
    }

    /** Renders an answer with sorted collections, so that equal answers have equal text. */
    private static String show(Object o) throws Exception {
        if (o instanceof Future<?> f) {
            return show(f.get());
        } else if (o instanceof Optional<?> v) {
            return v.isPresent() ? show(v.get()) : "none";
        } else if (o instanceof Collection<?> all) {
            List<String> texts = new ArrayList<>();
            for (Object each : all) {
                texts.add(show(each));
            }
            texts.sort(null);
            return texts.toString();
        } else if (o instanceof Map<?, ?> map) {
            TreeMap<String, String> texts = new TreeMap<>();
            for (Map.Entry<?, ?> each : map.entrySet()) {
                String value;
                try {
                    value = show(each.getValue());
                } catch (ExecutionException e) {
                    value = "error " + e.getCause().getClass().getSimpleName();
                }
                texts.put(show(each.getKey()), value);
            }
            return texts.toString();
        }
        return o == null ? "ok" : o.toString();
    }

    private String normal(String text) {
        text = text.replaceAll("[\\w.]+:\\d+ \\(id: \\d+ rack: \\S+( isFenced: false)?\\)", "NODE");
        if (cluster != null) {
            text = text.replace(cluster, "CLUSTER");
        }
        text = text.replaceAll("topicId=[\\w-]{22}", "topicId=ID");
        text = text.replaceAll("[\\w-]*-[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "MEMBER");
        text = text.replaceAll("memberId=[\\w-]{22}", "memberId=MEMBER");
        text = text.replaceAll("/127\\.0\\.0\\.1|127\\.0\\.0\\.1", "HOST").replaceAll("HOST:\\d+", "HOST:PORT");
        text = text.replaceAll("([tT]imestamp|startTimeMs|StartTimeMs)=1[6-9]\\d{11}", "$1=TIME");
        text = text.replaceAll("producerId=\\d+", "producerId=PID");
        text = text.replaceAll("coordinatorId=" + node + "\\b", "coordinatorId=NODE_ID");
        return text.replace('\n', ' ');
    }

    private static List<NewTopic> topic(String name, int partitions) {
        return List.of(new NewTopic(name, partitions, (short) 1));
    }

    private static String describe(TopicDescription d) {
        return "internal=" + d.isInternal() + " id=" + !d.topicId().equals(Uuid.ZERO_UUID) + " partitions=" + d.partitions().stream()
            .map(p -> p.partition() + ":leader=" + (p.leader() != null) + ",replicas=" + p.replicas().size() + ",isr=" + p.isr().size()
                + ",elr=" + size(p.elr()) + ",lastKnownElr=" + size(p.lastKnownElr()))
            .collect(Collectors.joining(" "))
            + " operations=" + sorted(d.authorizedOperations());
    }

    private static String sorted(Set<AclOperation> operations) {
        return operations == null ? "null" : operations.stream().map(Object::toString).sorted().toList().toString();
    }

    private static String size(List<?> list) {
        return list == null ? "null" : String.valueOf(list.size());
    }

    private void cluster() throws Exception {
        DescribeClusterResult described = admin.describeCluster();
        node = described.nodes().get().iterator().next().id();
        cluster = described.clusterId().get();
        ask("describeCluster nodes", () -> admin.describeCluster().nodes());
        ask("describeCluster controller", () -> admin.describeCluster().controller());
        ask("describeCluster operations", () -> admin.describeCluster(
            new DescribeClusterOptions().includeAuthorizedOperations(true)).authorizedOperations());
        ask("describeCluster fenced brokers", () -> admin.describeCluster(new DescribeClusterOptions().includeFencedBrokers(true)).nodes());
        ask("describeFeatures supported", () -> admin.describeFeatures().featureMetadata().get().supportedFeatures().keySet());
        ask("describeFeatures transaction.version", () -> admin.describeFeatures().featureMetadata().get().finalizedFeatures().get("transaction.version"));
        ask("describeFeatures group.version", () -> admin.describeFeatures().featureMetadata().get().finalizedFeatures().get("group.version"));
        ask("updateFeatures validate", () -> admin.updateFeatures(
            Map.of("group.version", new FeatureUpdate((short) 1, FeatureUpdate.UpgradeType.UPGRADE)),
            new UpdateFeaturesOptions().validateOnly(true)).all());
        ask("updateFeatures unknown", () -> admin.updateFeatures(
            Map.of("no.such.feature", new FeatureUpdate((short) 1, FeatureUpdate.UpgradeType.UPGRADE)), new UpdateFeaturesOptions()).all());
        ask("describeMetadataQuorum", () -> admin.describeMetadataQuorum().quorumInfo().get().leaderId() == node);
        ask("addRaftVoter", () -> admin.addRaftVoter(99, Uuid.randomUuid(), Set.of(new RaftVoterEndpoint("CONTROLLER", "localhost", 1))).all());
        ask("removeRaftVoter", () -> admin.removeRaftVoter(99, Uuid.randomUuid()).all());
        ask("unregisterBroker unknown", () -> admin.unregisterBroker(99).all());
        ask("clientInstanceId", () -> admin.clientInstanceId(Duration.ofSeconds(4)).toString().length() > 0);
        ask("metrics", () -> admin.metrics().size() > 10);
    }

    private void topics() throws Exception {
        ask("createTopics", () -> {
            CreateTopicsResult r = admin.createTopics(topic("plain", 3));
            r.all().get();
            return "partitions=" + r.numPartitions("plain").get() + " replicas=" + r.replicationFactor("plain").get()
                + " id=" + !r.topicId("plain").get().equals(Uuid.ZERO_UUID)
                + " configs=" + (r.config("plain").get() != null);
        });
        ask("createTopics effective configs", () -> {
            ConfigEntry e = admin.createTopics(topic("effective", 1)).config("effective").get().get("retention.ms");
            return e == null ? "absent" : e.value();
        });
        ask("createTopics with configs", () -> {
            CreateTopicsResult r = admin.createTopics(List.of(new NewTopic("configured", 2, (short) 1)
                .configs(Map.of("cleanup.policy", "compact", "retention.ms", "-1"))));
            ConfigEntry e = r.config("configured").get().get("cleanup.policy");
            return e.value() + " " + e.source() + " " + e.isReadOnly() + " " + e.isSensitive();
        });
        ask("createTopics defaults", () -> {
            CreateTopicsResult r = admin.createTopics(List.of(new NewTopic("defaults", Optional.empty(), Optional.empty())));
            return "replicas=" + r.replicationFactor("defaults").get();
        });
        ask("createTopics assigned", () -> admin.createTopics(List.of(new NewTopic("assigned", Map.of(0, List.of(node), 1, List.of(node))))).all());
        ask("createTopics exists", () -> admin.createTopics(topic("plain", 3)).all());
        ask("createTopics validate", () -> admin.createTopics(topic("validated", 3), new CreateTopicsOptions().validateOnly(true)).all());
        for (String name : List.of("", ".", "..", "a/b", "a b", "x".repeat(250))) {
            ask("createTopics name " + (name.length() > 10 ? "of 250 characters" : "'" + name + "'"), () -> admin.createTopics(topic(name, 1)).all());
        }
        ask("createTopics no partitions", () -> admin.createTopics(topic("none", 0)).all());
        ask("createTopics replication factor 3", () -> admin.createTopics(List.of(new NewTopic("replicated", 1, (short) 3))).all());
        ask("createTopics unknown broker", () -> admin.createTopics(List.of(new NewTopic("elsewhere", Map.of(0, List.of(99))))).all());
        ask("createTopics unknown config", () -> admin.createTopics(List.of(new NewTopic("odd", 1, (short) 1).configs(Map.of("no.such", "1")))).all());
        ask("createTopics invalid config", () -> admin.createTopics(List.of(new NewTopic("odd", 1, (short) 1).configs(Map.of("retention.ms", "x")))).all());
        ask("listTopics", () -> admin.listTopics().names());
        ask("listTopics listings", () -> admin.listTopics().listings().get().stream().map(l -> l.name() + " " + l.isInternal()
            + " " + !l.topicId().equals(Uuid.ZERO_UUID)).toList());
        ask("describeTopics", () -> describe(admin.describeTopics(List.of("plain")).allTopicNames().get().get("plain")));
        ask("describeTopics by id", () -> {
            Uuid id = admin.describeTopics(List.of("plain")).allTopicNames().get().get("plain").topicId();
            return describe(admin.describeTopics(TopicCollection.ofTopicIds(List.of(id))).allTopicIds().get().get(id));
        });
        ask("describeTopics operations", () -> describe(admin.describeTopics(List.of("plain"),
            new DescribeTopicsOptions().includeAuthorizedOperations(true)).allTopicNames().get().get("plain")));
        ask("describeTopics pages", () -> admin.describeTopics(List.of("assigned", "configured", "plain"),
            new DescribeTopicsOptions().partitionSizeLimitPerResponse(2)).allTopicNames().get().values().stream().map(AdminCalls::describe).toList());
        ask("describeTopics unknown", () -> admin.describeTopics(List.of("missing")).allTopicNames());
        ask("describeTopics unknown id", () -> admin.describeTopics(TopicCollection.ofTopicIds(List.of(Uuid.randomUuid()))).allTopicIds());
        ask("createPartitions", () -> admin.createPartitions(Map.of("assigned", NewPartitions.increaseTo(4))).all());
        ask("createPartitions fewer", () -> admin.createPartitions(Map.of("assigned", NewPartitions.increaseTo(1))).all());
        ask("createPartitions same", () -> admin.createPartitions(Map.of("assigned", NewPartitions.increaseTo(4))).all());
        ask("createPartitions unknown", () -> admin.createPartitions(Map.of("missing", NewPartitions.increaseTo(4))).all());
        ask("createPartitions validate", () -> admin.createPartitions(Map.of("assigned", NewPartitions.increaseTo(9)),
            new CreatePartitionsOptions().validateOnly(true)).all());
        settle();
        ask("describeTopics afterwards", () -> describe(admin.describeTopics(List.of("assigned")).allTopicNames().get().get("assigned")));
    }

    private KafkaProducer<byte[], byte[]> producer(String transactionalId) {
        Map<String, Object> config = new TreeMap<>(Map.of(
            ProducerConfig.BOOTSTRAP_SERVERS_CONFIG, brokers,
            ProducerConfig.KEY_SERIALIZER_CLASS_CONFIG, ByteArraySerializer.class,
            ProducerConfig.VALUE_SERIALIZER_CLASS_CONFIG, ByteArraySerializer.class));
        if (transactionalId != null) {
            config.put(ProducerConfig.TRANSACTIONAL_ID_CONFIG, transactionalId);
            config.put(ProducerConfig.TRANSACTION_TIMEOUT_CONFIG, 60000);
        }
        return new KafkaProducer<>(config);
    }

    private static byte[] bytes(Object o) {
        return o.toString().getBytes(StandardCharsets.UTF_8);
    }

    private static final long START = System.currentTimeMillis() - 100_000;

    private void records() throws Exception {
        try (KafkaProducer<byte[], byte[]> p = producer(null)) {
            for (int i = 0; i < 30; i++) {
                p.send(new ProducerRecord<>("plain", i % 3, START + i * 10, bytes(i), bytes(i)));
            }
        }
        TopicPartition zero = new TopicPartition("plain", 0);
        for (Map.Entry<String, OffsetSpec> spec : new TreeMap<>(Map.of(
                "earliest", OffsetSpec.earliest(), "latest", OffsetSpec.latest(), "max timestamp", OffsetSpec.maxTimestamp(),
                "earliest local", OffsetSpec.earliestLocal(), "latest tiered", OffsetSpec.latestTiered(),
                "timestamp", OffsetSpec.forTimestamp(START + 95), "later", OffsetSpec.forTimestamp(START + 1_000_000))).entrySet()) {
            ask("listOffsets " + spec.getKey(), () -> {
                ListOffsetsResult.ListOffsetsResultInfo i = admin.listOffsets(Map.of(zero, spec.getValue())).partitionResult(zero).get();
                return "offset=" + i.offset() + " time=" + (i.timestamp() > 0 ? i.timestamp() - START : i.timestamp()) + " epoch=" + i.leaderEpoch();
            });
        }
        ask("listOffsets unknown", () -> admin.listOffsets(Map.of(new TopicPartition("missing", 0), OffsetSpec.latest())).all());
        ask("listOffsets unknown partition", () -> admin.listOffsets(Map.of(new TopicPartition("plain", 9), OffsetSpec.latest())).all());
        ask("deleteRecords", () -> admin.deleteRecords(Map.of(zero, RecordsToDelete.beforeOffset(4))).lowWatermarks().get(zero).get().lowWatermark());
        ask("deleteRecords to end", () -> admin.deleteRecords(Map.of(new TopicPartition("plain", 1), RecordsToDelete.beforeOffset(-1)))
            .lowWatermarks().get(new TopicPartition("plain", 1)).get().lowWatermark());
        ask("deleteRecords beyond end", () -> admin.deleteRecords(Map.of(zero, RecordsToDelete.beforeOffset(1000))).all());
        ask("deleteRecords compacted", () -> admin.deleteRecords(Map.of(new TopicPartition("configured", 0), RecordsToDelete.beforeOffset(-1))).all());
        ask("deleteRecords unknown", () -> admin.deleteRecords(Map.of(new TopicPartition("missing", 0), RecordsToDelete.beforeOffset(1))).all());
        ask("listOffsets afterwards", () -> admin.listOffsets(Map.of(zero, OffsetSpec.earliest())).partitionResult(zero).get().offset());
        ask("describeProducers", () -> admin.describeProducers(List.of(zero)).partitionResult(zero).get().activeProducers().stream()
            .map(s -> "epoch=" + s.producerEpoch() + " sequence=" + s.lastSequence() + " open=" + s.currentTransactionStartOffset()).toList());
        ask("describeProducers unknown", () -> admin.describeProducers(List.of(new TopicPartition("missing", 0))).all());
    }

    /** Real Kafka applies a change of metadata after it has answered. */
    private static void settle() throws InterruptedException {
        Thread.sleep(500);
    }

    private static String entry(Config c, String name) {
        ConfigEntry e = c.get(name);
        if (e == null) {
            return "absent";
        }
        return e.value() + " " + e.source() + (e.isReadOnly() ? " read-only" : "") + (e.isSensitive() ? " sensitive" : "") + " " + e.type()
            + (e.synonyms().isEmpty() ? "" : " synonyms=" + e.synonyms().size());
    }

    /** The settings of topics that Kafka 4.3.1 lists. */
    private static final List<String> TOPIC_CONFIGS = List.of(
        "cleanup.policy", "compression.type", "delete.retention.ms", "file.delete.delay.ms", "flush.messages", "flush.ms", "index.interval.bytes",
        "max.compaction.lag.ms", "max.message.bytes", "message.timestamp.type", "min.cleanable.dirty.ratio", "min.compaction.lag.ms",
        "min.insync.replicas", "retention.bytes", "retention.ms", "segment.bytes", "segment.ms");

    private void configs() throws Exception {
        ConfigResource plain = new ConfigResource(ConfigResource.Type.TOPIC, "plain");
        ConfigResource configured = new ConfigResource(ConfigResource.Type.TOPIC, "configured");
        ConfigResource missing = new ConfigResource(ConfigResource.Type.TOPIC, "missing");
        ConfigResource broker = new ConfigResource(ConfigResource.Type.BROKER, String.valueOf(node));
        ConfigResource defaults = new ConfigResource(ConfigResource.Type.BROKER, "");
        ConfigResource group = new ConfigResource(ConfigResource.Type.GROUP, "g");
        ConfigResource metrics = new ConfigResource(ConfigResource.Type.CLIENT_METRICS, "m");
        for (String name : TOPIC_CONFIGS) {
            ask("describeConfigs topic " + name, () -> entry(admin.describeConfigs(List.of(plain)).all().get().get(plain), name));
        }
        ask("describeConfigs topic changed", () -> entry(admin.describeConfigs(List.of(configured)).all().get().get(configured), "cleanup.policy"));
        ask("describeConfigs synonyms", () -> entry(admin.describeConfigs(List.of(configured),
            new DescribeConfigsOptions().includeSynonyms(true).includeDocumentation(true)).all().get().get(configured), "cleanup.policy"));
        ask("describeConfigs unknown topic", () -> admin.describeConfigs(List.of(missing)).all());
        for (String name : List.of("auto.create.topics.enable", "log.retention.ms", "message.max.bytes", "num.partitions")) {
            ask("describeConfigs broker " + name, () -> entry(admin.describeConfigs(List.of(broker)).all().get().get(broker), name));
        }
        ask("describeConfigs brokers' defaults", () -> admin.describeConfigs(List.of(defaults)).all().get().get(defaults).entries().size());
        ask("describeConfigs unknown broker", () -> admin.describeConfigs(List.of(new ConfigResource(ConfigResource.Type.BROKER, "99"))).all());
        ask("describeConfigs group", () -> entry(admin.describeConfigs(List.of(group)).all().get().get(group), "consumer.session.timeout.ms"));
        ask("describeConfigs client metrics", () -> entry(admin.describeConfigs(List.of(metrics)).all().get().get(metrics), "interval.ms"));
        ask("incrementalAlterConfigs set", () -> admin.incrementalAlterConfigs(Map.of(plain, List.of(
            new AlterConfigOp(new ConfigEntry("retention.ms", "12345"), AlterConfigOp.OpType.SET)))).all());
        ask("incrementalAlterConfigs append", () -> admin.incrementalAlterConfigs(Map.of(plain, List.of(
            new AlterConfigOp(new ConfigEntry("cleanup.policy", "compact"), AlterConfigOp.OpType.APPEND)))).all());
        settle();
        ask("describeConfigs after set", () -> entry(admin.describeConfigs(List.of(plain)).all().get().get(plain), "retention.ms"));
        ask("describeConfigs after append", () -> entry(admin.describeConfigs(List.of(plain)).all().get().get(plain), "cleanup.policy"));
        ask("incrementalAlterConfigs subtract", () -> admin.incrementalAlterConfigs(Map.of(plain, List.of(
            new AlterConfigOp(new ConfigEntry("cleanup.policy", "compact"), AlterConfigOp.OpType.SUBTRACT)))).all());
        ask("incrementalAlterConfigs delete", () -> admin.incrementalAlterConfigs(Map.of(plain, List.of(
            new AlterConfigOp(new ConfigEntry("retention.ms", null), AlterConfigOp.OpType.DELETE)))).all());
        settle();
        ask("describeConfigs after delete", () -> entry(admin.describeConfigs(List.of(plain)).all().get().get(plain), "retention.ms"));
        ask("incrementalAlterConfigs validate", () -> admin.incrementalAlterConfigs(Map.of(plain, List.of(
            new AlterConfigOp(new ConfigEntry("retention.ms", "1"), AlterConfigOp.OpType.SET))), new AlterConfigsOptions().validateOnly(true)).all());
        ask("incrementalAlterConfigs unknown config", () -> admin.incrementalAlterConfigs(Map.of(plain, List.of(
            new AlterConfigOp(new ConfigEntry("no.such", "1"), AlterConfigOp.OpType.SET)))).all());
        ask("incrementalAlterConfigs invalid value", () -> admin.incrementalAlterConfigs(Map.of(plain, List.of(
            new AlterConfigOp(new ConfigEntry("retention.ms", "x"), AlterConfigOp.OpType.SET)))).all());
        ask("incrementalAlterConfigs unknown topic", () -> admin.incrementalAlterConfigs(Map.of(missing, List.of(
            new AlterConfigOp(new ConfigEntry("retention.ms", "1"), AlterConfigOp.OpType.SET)))).all());
        ask("incrementalAlterConfigs broker", () -> admin.incrementalAlterConfigs(Map.of(broker, List.of(
            new AlterConfigOp(new ConfigEntry("log.cleaner.threads", "1"), AlterConfigOp.OpType.SET)))).all());
        ask("incrementalAlterConfigs group", () -> admin.incrementalAlterConfigs(Map.of(group, List.of(
            new AlterConfigOp(new ConfigEntry("consumer.session.timeout.ms", "46000"), AlterConfigOp.OpType.SET)))).all());
        ask("incrementalAlterConfigs client metrics", () -> admin.incrementalAlterConfigs(Map.of(metrics, List.of(
            new AlterConfigOp(new ConfigEntry("interval.ms", "60000"), AlterConfigOp.OpType.SET)))).all());
        settle();
        ask("listConfigResources topics", () -> admin.listConfigResources(Set.of(ConfigResource.Type.TOPIC), new ListConfigResourcesOptions()).all());
        ask("listConfigResources brokers", () -> admin.listConfigResources(Set.of(ConfigResource.Type.BROKER), new ListConfigResourcesOptions()).all().get().size());
        ask("listConfigResources groups", () -> admin.listConfigResources(Set.of(ConfigResource.Type.GROUP), new ListConfigResourcesOptions()).all());
        ask("listConfigResources client metrics", () -> admin.listConfigResources(Set.of(ConfigResource.Type.CLIENT_METRICS), new ListConfigResourcesOptions()).all());
        ask("listClientMetricsResources", () -> admin.listClientMetricsResources().all());
    }

    private KafkaConsumer<byte[], byte[]> consumer(String group, String protocol, String instance) {
        Map<String, Object> config = new TreeMap<>(Map.of(
            ConsumerConfig.BOOTSTRAP_SERVERS_CONFIG, brokers, ConsumerConfig.GROUP_ID_CONFIG, group,
            ConsumerConfig.GROUP_PROTOCOL_CONFIG, protocol, ConsumerConfig.CLIENT_ID_CONFIG, "reader",
            ConsumerConfig.AUTO_OFFSET_RESET_CONFIG, "earliest", ConsumerConfig.ENABLE_AUTO_COMMIT_CONFIG, false,
            ConsumerConfig.KEY_DESERIALIZER_CLASS_CONFIG, ByteArrayDeserializer.class,
            ConsumerConfig.VALUE_DESERIALIZER_CLASS_CONFIG, ByteArrayDeserializer.class));
        if (instance != null) {
            config.put(ConsumerConfig.GROUP_INSTANCE_ID_CONFIG, instance);
        }
        KafkaConsumer<byte[], byte[]> c = new KafkaConsumer<>(config);
        c.subscribe(List.of("plain"));
        long end = System.currentTimeMillis() + 20_000;
        while (c.assignment().isEmpty() && System.currentTimeMillis() < end) {
            c.poll(Duration.ofMillis(100));
        }
        return c;
    }

    private static String describe(ConsumerGroupDescription d) {
        return "type=" + d.type() + " state=" + d.groupState() + " assignor=" + d.partitionAssignor() + " simple=" + d.isSimpleConsumerGroup()
            + " coordinator=" + (d.coordinator() != null) + " epochs=" + d.groupEpoch().isPresent() + "," + d.targetAssignmentEpoch().isPresent()
            + " members=" + d.members().stream().map(m -> m.clientId() + "@" + m.host() + " instance=" + m.groupInstanceId() + " has="
                + m.assignment().topicPartitions().stream().map(Object::toString).sorted().toList()
                + " target=" + m.targetAssignment().map(t -> t.topicPartitions().size()) + " upgraded=" + m.upgraded()).toList()
            + " operations=" + sorted(d.authorizedOperations());
    }

    private void groups() {
        TopicPartition zero = new TopicPartition("plain", 0);
        TopicPartition two = new TopicPartition("plain", 2);
        for (String protocol : List.of("classic", "consumer")) {
            String group = "g-" + protocol;
            KafkaConsumer<byte[], byte[]> c = consumer(group, protocol, null);
            c.commitSync(Map.of(zero, new OffsetAndMetadata(7, Optional.of(0), "note"), two, new OffsetAndMetadata(3)));
            ask(protocol + " describeConsumerGroups", () -> describe(admin.describeConsumerGroups(List.of(group)).all().get().get(group)));
            ask(protocol + " describeConsumerGroups operations", () -> describe(admin.describeConsumerGroups(List.of(group),
                new DescribeConsumerGroupsOptions().includeAuthorizedOperations(true)).all().get().get(group)));
            ask(protocol + " describeClassicGroups", () -> {
                ClassicGroupDescription d = admin.describeClassicGroups(List.of(group)).all().get().get(group);
                return d.protocol() + " " + d.protocolData() + " " + d.state() + " members=" + d.members().size();
            });
            ask(protocol + " listConsumerGroupOffsets", () -> admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata());
            ask(protocol + " alterConsumerGroupOffsets live", () -> admin.alterConsumerGroupOffsets(group, Map.of(two, new OffsetAndMetadata(1))).all());
            ask(protocol + " deleteConsumerGroupOffsets live", () -> admin.deleteConsumerGroupOffsets(group, Set.of(zero)).all());
            ask(protocol + " deleteConsumerGroups live", () -> admin.deleteConsumerGroups(List.of(group)).all());
            ask(protocol + " removeMembersFromConsumerGroup all", () -> admin.removeMembersFromConsumerGroup(group,
                new RemoveMembersFromConsumerGroupOptions()).all());
            c.close(org.apache.kafka.clients.consumer.CloseOptions.timeout(Duration.ofSeconds(2)));
            ask(protocol + " describeConsumerGroups empty", () -> describe(admin.describeConsumerGroups(List.of(group)).all().get().get(group)));
            ask(protocol + " alterConsumerGroupOffsets", () -> admin.alterConsumerGroupOffsets(group, Map.of(two, new OffsetAndMetadata(5))).all());
            ask(protocol + " alterConsumerGroupOffsets unknown topic", () -> admin.alterConsumerGroupOffsets(group,
                Map.of(new TopicPartition("missing", 0), new OffsetAndMetadata(5))).all());
            ask(protocol + " deleteConsumerGroupOffsets", () -> admin.deleteConsumerGroupOffsets(group, Set.of(zero)).all());
            ask(protocol + " listConsumerGroupOffsets afterwards", () -> admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata());
        }
        KafkaConsumer<byte[], byte[]> fixed = consumer("g-static", "classic", "one");
        ask("removeMembersFromConsumerGroup", () -> admin.removeMembersFromConsumerGroup("g-static",
            new RemoveMembersFromConsumerGroupOptions(Set.of(new MemberToRemove("one")))).all());
        ask("removeMembersFromConsumerGroup unknown", () -> admin.removeMembersFromConsumerGroup("g-static",
            new RemoveMembersFromConsumerGroupOptions(Set.of(new MemberToRemove("two")))).all());
        fixed.close(org.apache.kafka.clients.consumer.CloseOptions.timeout(Duration.ofSeconds(2)));
        ask("listConsumerGroups", () -> listed(admin.listGroups(ListGroupsOptions.forConsumerGroups()).all().get()));
        ask("listGroups", () -> listed(admin.listGroups().all().get()));
        ask("listGroups classic", () -> listed(admin.listGroups(new ListGroupsOptions().withTypes(Set.of(org.apache.kafka.common.GroupType.CLASSIC))).all().get()));
        ask("listGroups stable", () -> listed(admin.listGroups(new ListGroupsOptions().inGroupStates(Set.of(org.apache.kafka.common.GroupState.STABLE))).all().get()));
        ask("describeConsumerGroups unknown", () -> admin.describeConsumerGroups(List.of("missing")).all());
        ask("describeClassicGroups unknown", () -> admin.describeClassicGroups(List.of("missing")).all());
        ask("listConsumerGroupOffsets unknown", () -> admin.listConsumerGroupOffsets("missing").partitionsToOffsetAndMetadata());
        ask("listConsumerGroupOffsets partition", () -> admin.listConsumerGroupOffsets(Map.of("g-classic",
            new ListConsumerGroupOffsetsSpec().topicPartitions(List.of(zero, two)))).partitionsToOffsetAndMetadata("g-classic"));
        ask("deleteConsumerGroupOffsets unknown", () -> admin.deleteConsumerGroupOffsets("missing", Set.of(zero)).all());
        ask("deleteConsumerGroups", () -> admin.deleteConsumerGroups(List.of("g-static", "g-consumer")).all());
        ask("deleteConsumerGroups unknown", () -> admin.deleteConsumerGroups(List.of("missing")).all());
        ask("alterConsumerGroupOffsets new group", () -> admin.alterConsumerGroupOffsets("g-new", Map.of(zero, new OffsetAndMetadata(2))).all());
        ask("describeConsumerGroups simple", () -> describe(admin.describeConsumerGroups(List.of("g-new")).all().get().get("g-new")));
        ask("listGroups afterwards", () -> listed(admin.listGroups().all().get()));
    }

    private static List<String> listed(Collection<GroupListing> groups) {
        return groups.stream().map(g -> g.groupId() + " " + g.type() + " '" + g.protocol() + "' " + g.groupState() + " simple=" + g.isSimpleConsumerGroup()).toList();
    }

    private void otherGroups() {
        TopicPartition zero = new TopicPartition("plain", 0);
        ask("describeShareGroups", () -> admin.describeShareGroups(List.of("s")).all());
        ask("alterShareGroupOffsets", () -> admin.alterShareGroupOffsets("s", Map.of(zero, 1L)).all());
        ask("listShareGroupOffsets", () -> admin.listShareGroupOffsets(Map.of("s", new ListShareGroupOffsetsSpec())).all());
        ask("deleteShareGroupOffsets", () -> admin.deleteShareGroupOffsets("s", Set.of("plain")).all());
        ask("deleteShareGroups", () -> admin.deleteShareGroups(List.of("s")).all());
        ask("describeStreamsGroups", () -> admin.describeStreamsGroups(List.of("t")).all());
        ask("alterStreamsGroupOffsets", () -> admin.alterStreamsGroupOffsets("t", Map.of(zero, new OffsetAndMetadata(1))).all());
        ask("listStreamsGroupOffsets", () -> admin.listStreamsGroupOffsets(Map.of("t", new ListStreamsGroupOffsetsSpec())).all());
        ask("deleteStreamsGroupOffsets", () -> admin.deleteStreamsGroupOffsets("t", Set.of(zero)).all());
        ask("deleteStreamsGroups", () -> admin.deleteStreamsGroups(List.of("t")).all());
    }

    private static String describe(TransactionDescription d) {
        return "state=" + d.state() + " coordinator=" + (d.coordinatorId() >= 0) + " epoch=" + d.producerEpoch() + " timeout=" + d.transactionTimeoutMs()
            + " started=" + d.transactionStartTimeMs().isPresent() + " partitions=" + d.topicPartitions();
    }

    private void transactions() throws Exception {
        TopicPartition zero = new TopicPartition("configured", 0);
        KafkaProducer<byte[], byte[]> p = producer("t-1");
        p.initTransactions();
        ask("describeTransactions empty", () -> describe(admin.describeTransactions(List.of("t-1")).description("t-1").get()));
        p.beginTransaction();
        p.send(new ProducerRecord<>("configured", 0, START, bytes("k"), bytes("v"))).get();
        ask("describeTransactions ongoing", () -> describe(admin.describeTransactions(List.of("t-1")).description("t-1").get()));
        ask("listTransactions", () -> admin.listTransactions().all().get().stream().map(l -> l.transactionalId() + " " + l.state()).toList());
        ask("listTransactions ongoing", () -> admin.listTransactions(new ListTransactionsOptions().filterStates(Set.of(TransactionState.ONGOING)))
            .all().get().stream().map(l -> l.transactionalId() + " " + l.state()).toList());
        ask("listTransactions long", () -> admin.listTransactions(new ListTransactionsOptions().filterOnDuration(3_600_000)).all().get().size());
        ask("listTransactions pattern", () -> admin.listTransactions(new ListTransactionsOptions().filterOnTransactionalIdPattern("t-.*")).all().get().size());
        ask("describeProducers open", () -> admin.describeProducers(List.of(zero)).partitionResult(zero).get().activeProducers().stream()
            .map(s -> "epoch=" + s.producerEpoch() + " sequence=" + s.lastSequence() + " open=" + s.currentTransactionStartOffset()
                + " coordinator=" + s.coordinatorEpoch()).toList());
        ask("listOffsets read_committed", () -> admin.listOffsets(Map.of(zero, OffsetSpec.latest()),
            new ListOffsetsOptions(org.apache.kafka.common.IsolationLevel.READ_COMMITTED)).partitionResult(zero).get().offset());
        ask("listOffsets read_uncommitted", () -> admin.listOffsets(Map.of(zero, OffsetSpec.latest())).partitionResult(zero).get().offset());
        ask("fenceProducers", () -> admin.fenceProducers(List.of("t-1")).epochId("t-1").get());
        ask("the fenced producer's commit", () -> {
            p.commitTransaction();
            return null;
        });
        p.close(Duration.ZERO);
        ask("describeTransactions fenced", () -> describe(awaitEnd("t-1")));
        KafkaProducer<byte[], byte[]> hanging = producer("t-2");
        hanging.initTransactions();
        hanging.beginTransaction();
        hanging.send(new ProducerRecord<>("configured", 0, START, bytes("k"), bytes("v"))).get();
        ask("forceTerminateTransaction", () -> admin.forceTerminateTransaction("t-2").result());
        ask("describeTransactions terminated", () -> describe(awaitEnd("t-2")));
        hanging.close(Duration.ZERO);
        KafkaProducer<byte[], byte[]> third = producer("t-3");
        third.initTransactions();
        third.beginTransaction();
        third.send(new ProducerRecord<>("configured", 0, START, bytes("k"), bytes("v"))).get();
        ProducerState open = admin.describeProducers(List.of(zero)).partitionResult(zero).get().activeProducers().stream()
            .filter(s -> s.currentTransactionStartOffset().isPresent()).findFirst().orElseThrow();
        ask("abortTransaction", () -> admin.abortTransaction(new AbortTransactionSpec(zero, open.producerId(), (short) open.producerEpoch(),
            open.coordinatorEpoch().orElse(0))).all());
        ask("describeProducers aborted", () -> admin.describeProducers(List.of(zero)).partitionResult(zero).get().activeProducers().stream()
            .filter(s -> s.currentTransactionStartOffset().isPresent()).count());
        third.close(Duration.ZERO);
        ask("forceTerminateTransaction unknown", () -> admin.forceTerminateTransaction("missing").result());
        ask("describeTransactions unknown", () -> describe(admin.describeTransactions(List.of("missing")).description("missing").get()));
        ask("fenceProducers new", () -> admin.fenceProducers(List.of("t-new")).epochId("t-new").get());
    }

    /** Real Kafka writes the markers of an abort after it has answered. */
    private TransactionDescription awaitEnd(String id) throws Exception {
        while (true) {
            TransactionDescription d = admin.describeTransactions(List.of(id)).description(id).get();
            if (!d.state().toString().startsWith("Prepare")) {
                return d;
            }
            Thread.sleep(20);
        }
    }

    private void security() {
        AclBinding acl = new AclBinding(new ResourcePattern(ResourceType.TOPIC, "plain", PatternType.LITERAL),
            new AccessControlEntry("User:a", "*", AclOperation.READ, AclPermissionType.ALLOW));
        ask("createAcls", () -> admin.createAcls(List.of(acl)).all());
        ask("describeAcls", () -> admin.describeAcls(AclBindingFilter.ANY).values());
        ask("deleteAcls", () -> admin.deleteAcls(List.of(AclBindingFilter.ANY)).all());
        ClientQuotaEntity user = new ClientQuotaEntity(Map.of(ClientQuotaEntity.USER, "a"));
        KafkaFuture<Void> altered = admin.alterClientQuotas(List.of(new ClientQuotaAlteration(user,
            List.of(new ClientQuotaAlteration.Op("producer_byte_rate", 1e6))))).all();
        ask("alterClientQuotas", () -> altered);
        ask("describeClientQuotas", () -> {
            Map<?, ?> quotas;
            do { // Kafka's broker learns of a change from the controller
                Thread.sleep(20);
                quotas = admin.describeClientQuotas(ClientQuotaFilter.all()).entities().get();
            } while (quotas.isEmpty() && !altered.isCompletedExceptionally());
            return quotas;
        });
        ask("describeUserScramCredentials", () -> admin.describeUserScramCredentials().all());
        KafkaFuture<Void> added = admin.alterUserScramCredentials(List.of(
            new UserScramCredentialUpsertion("a", new ScramCredentialInfo(ScramMechanism.SCRAM_SHA_256, 4096), "secret"))).all();
        ask("alterUserScramCredentials", () -> added);
        ask("describeUserScramCredentials afterwards", () -> {
            Map<?, ?> users;
            do {
                Thread.sleep(20);
                users = admin.describeUserScramCredentials().all().get();
            } while (users.isEmpty() && !added.isCompletedExceptionally());
            return users;
        });
        ask("alterUserScramCredentials delete", () -> admin.alterUserScramCredentials(List.of(
            new UserScramCredentialDeletion("a", ScramMechanism.SCRAM_SHA_256))).all());
        ask("createDelegationToken", () -> admin.createDelegationToken().delegationToken());
        ask("renewDelegationToken", () -> admin.renewDelegationToken(bytes("x")).expiryTimestamp());
        ask("expireDelegationToken", () -> admin.expireDelegationToken(bytes("x")).expiryTimestamp());
        ask("describeDelegationToken", () -> admin.describeDelegationToken().delegationTokens());
    }

    private void replicas() {
        TopicPartition zero = new TopicPartition("plain", 0);
        TopicPartitionReplica replica = new TopicPartitionReplica("plain", 0, node);
        ask("describeLogDirs", () -> admin.describeLogDirs(List.of(node)).allDescriptions().get().get(node).values().stream()
            .map(d -> "error=" + (d.error() != null) + " plain=" + d.replicaInfos().keySet().stream().filter(p -> p.topic().equals("plain")).count()
                + " total=" + d.totalBytes().isPresent() + " usable=" + d.usableBytes().isPresent()).toList());
        ask("describeReplicaLogDirs", () -> {
            DescribeReplicaLogDirsResult.ReplicaLogDirInfo i = admin.describeReplicaLogDirs(List.of(replica)).all().get().get(replica);
            return "current=" + (i.getCurrentReplicaLogDir() != null) + " lag=" + i.getCurrentReplicaOffsetLag() + " future=" + i.getFutureReplicaLogDir();
        });
        ask("alterReplicaLogDirs unknown", () -> admin.alterReplicaLogDirs(Map.of(replica, "/no/such/dir")).all());
        ask("electLeaders preferred", () -> admin.electLeaders(ElectionType.PREFERRED, Set.of(zero)).all());
        ask("electLeaders unclean", () -> admin.electLeaders(ElectionType.UNCLEAN, Set.of(zero)).all());
        ask("electLeaders unknown", () -> admin.electLeaders(ElectionType.PREFERRED, Set.of(new TopicPartition("missing", 0))).partitions().get().values().stream()
            .map(e -> e.map(x -> x.getClass().getSimpleName()).orElse("elected")).toList());
        ask("alterPartitionReassignments", () -> admin.alterPartitionReassignments(Map.of(zero,
            Optional.of(new NewPartitionReassignment(List.of(node))))).all());
        ask("alterPartitionReassignments unknown broker", () -> admin.alterPartitionReassignments(Map.of(zero,
            Optional.of(new NewPartitionReassignment(List.of(99))))).all());
        ask("alterPartitionReassignments cancel", () -> admin.alterPartitionReassignments(Map.of(zero, Optional.empty())).all());
        ask("listPartitionReassignments", () -> admin.listPartitionReassignments().reassignments());
    }

    private void deletions() throws Exception {
        ask("deleteTopics", () -> admin.deleteTopics(List.of("plain")).all());
        ask("deleteTopics unknown", () -> admin.deleteTopics(List.of("missing")).all());
        ask("deleteTopics by id", () -> admin.deleteTopics(TopicCollection.ofTopicIds(List.of(
            admin.describeTopics(List.of("assigned")).allTopicNames().get().get("assigned").topicId()))).all());
        ask("deleteTopics unknown id", () -> admin.deleteTopics(TopicCollection.ofTopicIds(List.of(Uuid.randomUuid()))).all());
        settle();
        ask("listTopics afterwards", () -> admin.listTopics().names());
    }
}
