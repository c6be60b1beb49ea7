/**
 * How file descriptors are shared out: between connections, the pipes that splice needs, and the rest.
 *
 * Workers raise the process's soft limit to the hard one, so the hard one is what counts.
 *
 * @module
 */
import { MAX_CONNECTIONS_UNASKED } from "../config/mod.ts";

/** Standard streams, the runtime's own, epoll instances, listeners, doorbells, the nft child's pipes. */
const RESERVED_FDS = 256;
const FDS_PER_CONNECTION = 2;
const FDS_PER_PIPE = 2;
/** Pipes are borrowed only while bytes are in flight: this many for one worker is ample. */
const PIPES_PER_WORKER = 512;
/** At most this part of all descriptors goes into pipes. */
const PIPE_SHARE = 1 / 16;

/** What the descriptors allow. */
export interface FdBudget {
  /** Over all workers. */
  readonly maxConnections: number;
  readonly maxPipesPerWorker: number;
  /** Whether `maxConnections` is less than what was asked for. */
  readonly lowered: boolean;
}

/**
 * Shares out the descriptors.
 *
 * @param hardLimit RLIMIT_NOFILE, the hard one; may be Infinity.
 * @param asked connections the user asked for; undefined: as many as there should be without a word.
 */
export function shareFds(hardLimit: number, workers: number, asked: number | undefined): FdBudget {
  const pipesInAll = Math.floor(hardLimit * PIPE_SHARE / FDS_PER_PIPE);
  const maxPipesPerWorker = Math.max(1, Math.min(PIPES_PER_WORKER, Math.floor(pipesInAll / workers)));
  const left = hardLimit - RESERVED_FDS - maxPipesPerWorker * workers * FDS_PER_PIPE;
  const possible = Math.max(1, Math.floor(left / FDS_PER_CONNECTION));
  return {
    maxConnections: Math.min(asked ?? MAX_CONNECTIONS_UNASKED, possible),
    maxPipesPerWorker,
    lowered: asked !== undefined && asked > possible,
  };
}

/** The hard limit of open files, from the text of /proc/self/limits; Infinity when there is none. */
export function parseHardFdLimit(limits: string): number {
  const hard = /^Max open files\s+\S+\s+(\S+)/m.exec(limits)?.[1];
  return hard === undefined || hard === "unlimited" ? Infinity : Number(hard);
}
