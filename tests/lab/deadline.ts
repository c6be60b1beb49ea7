/**
 * Waiting with an end: every wait in the lab goes through here, so that no test can hang.
 *
 * @module
 */

/** Something did not happen in time. */
export class DeadlineError extends Error {
  override readonly name = "DeadlineError";
}

/** @throws {DeadlineError} when `promise` has not settled after `timeoutMs`; the promise itself goes on. */
export async function within<T>(promise: PromiseLike<T>, timeoutMs: number, what: string): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new DeadlineError(`${what}: not within ${timeoutMs} ms`)), timeoutMs);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
