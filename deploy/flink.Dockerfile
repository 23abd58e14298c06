# Flink with the Kafka connector and the registry's formats, in the versions that the tests run (internal/stack/flink.xml).
ARG MAVEN_BASE=maven:3.9-eclipse-temurin-17
ARG BASE=flink:2.2.1-java17

FROM ${MAVEN_BASE} AS jars
COPY internal/stack/flink.xml /jars/pom.xml
# The image already contains the gateway.
RUN mvn --batch-mode -f /jars/pom.xml org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies \
    -DincludeScope=runtime -DexcludeArtifactIds=flink-sql-gateway -DoutputDirectory=/jars/lib

FROM ${BASE}
COPY --from=jars --chown=flink:flink /jars/lib/ /opt/flink/lib/
RUN mkdir -p /checkpoints && chown flink:flink /checkpoints
