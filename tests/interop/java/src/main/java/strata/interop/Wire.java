package strata.interop;

/** Which of BookKeeper's two protocols the client speaks. */
enum Wire { v2, v3 }
