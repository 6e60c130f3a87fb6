// Waiting for a fact, with a deadline.

const DEADLINE_MS = 20_000;

/** Asks `fact` until it answers something true, and returns that. */
export async function waitFor(what, fact) {
  const deadline = performance.now() + DEADLINE_MS;
  for (;;) {
    const answer = await fact();
    if (answer) return answer;
    if (performance.now() > deadline) throw new Error(`waited ${DEADLINE_MS} ms in vain for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
