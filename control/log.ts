/**
 * The log: events as lines on stderr, for people or for programs.
 *
 * Lines are written synchronously, so the last one before an exit is never lost. A reader that does not read
 * holds up the main thread alone: the data plane writes nothing here.
 *
 * @module
 */
import { configureSync, getLogger, type Logger, type LogRecord, resetSync } from "@logtape/logtape";
import type { LogFormat, LogLevel } from "../config/mod.ts";
import { type AppEvent, EVENT_LEVELS } from "./events.ts";
import { describeEvent } from "./event_text.ts";

const CATEGORY = "pellucid";

/** The open log. */
export interface Log extends Disposable {
  /** Writes the event, unless the log's level is above the event's. */
  emit(event: AppEvent): void;
  /** Lines look otherwise from now on, or others are shown. */
  change(options: Pick<LogOptions, "format" | "level">): void;
}

/** Says where and how lines are written. */
export interface LogOptions {
  readonly format: LogFormat;
  readonly level: LogLevel;
  /** Takes one line without its end. */
  readonly write: (line: string) => void;
}

/** Opens the process's one log; another one must be disposed of before. */
export function openLog(options: LogOptions): Log {
  configure(options);
  const logger = getLogger(CATEGORY);
  return {
    emit: (event) => logEvent(logger, event),
    change: (changed) => {
      resetSync();
      configure({ ...options, ...changed });
    },
    [Symbol.dispose]: resetSync,
  };
}

function configure(options: LogOptions): void {
  const format = options.format === "json" ? formatJson : formatText;
  const toLine = (record: LogRecord) => options.write(format(record));
  configureSync({
    sinks: { lines: toLine },
    loggers: [
      {
        category: CATEGORY,
        lowestLevel: options.level === "warn" ? "warning" : options.level,
        sinks: ["lines"],
      },
      { category: ["logtape", "meta"], lowestLevel: "fatal", sinks: [] },
    ],
  });
}

function logEvent(logger: Logger, event: AppEvent): void {
  logger[EVENT_LEVELS[event.event]](event.event, event);
}

/** The properties of a record of ours are the event's fields, by `logEvent` above. */
function eventOf(record: LogRecord): AppEvent {
  return record.properties as unknown as AppEvent;
}

function formatJson(record: LogRecord): string {
  const event = eventOf(record);
  return JSON.stringify({
    time: new Date(record.timestamp).toISOString(),
    level: EVENT_LEVELS[event.event],
    ...event,
  });
}

function formatText(record: LogRecord): string {
  const event = eventOf(record);
  const time = new Date(record.timestamp).toISOString().slice(11, 23);
  // A line for people is one line, whatever an error message carries.
  return `${time} ${EVENT_LEVELS[event.event].padEnd(5)} ${
    describeEvent(event).replaceAll(/\s*\n\s*/g, " ")
  }`;
}

/** Writes a line to stderr, whole. A stderr that nobody reads any more is no reason to stop carrying traffic. */
export function writeStderrLine(line: string): void {
  const bytes = new TextEncoder().encode(`${line}\n`);
  try {
    for (let sent = 0; sent < bytes.length;) sent += Deno.stderr.writeSync(bytes.subarray(sent));
  } catch {
    // Closed (EPIPE), or set non-blocking by another holder and full (EAGAIN): there is nowhere to say so.
  }
}
