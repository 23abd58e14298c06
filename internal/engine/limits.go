package engine

// ownLimit is the max.message.bytes of changelogs and repartition topics. Their records are larger
// than the rows in them, so the limit exceeds that of other topics.
const ownLimit = 8 << 20
