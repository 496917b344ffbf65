// The rules of names and passwords that the coordinator will hold anyway; told before the trip.

import { LIMITS } from "../generated/bindings";

const NAME = /^[A-Za-z0-9_.-]+$/;
const utf8 = new TextEncoder();

/** What is wrong with an account name; for an old account only that it is empty. */
export function checkName(name: string, creating: boolean): "empty" | "long" | "bad" | null {
  if (name === "") return "empty";
  if (!creating) return null;
  if (!NAME.test(name)) return "bad";
  return name.length > LIMITS.maxName ? "long" : null;
}

/** What is wrong with a password; for an old account only that it is empty. */
export function checkPassword(password: string, creating: boolean): "empty" | "short" | "long" | null {
  if (password === "") return "empty";
  if (!creating) return null;
  if ([...password].length < LIMITS.minPassword) return "short";
  return utf8.encode(password).length > LIMITS.maxPassword ? "long" : null;
}
