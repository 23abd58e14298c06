package engine

// ownLimit is the max.message.bytes of the topics of state and of rows on their way: to a row that
// a topic takes, they add something.
const ownLimit = 8 << 20
