// What is shown to whom. What somebody may do is the coordinator's to say.

import type { AccountView } from "../generated/bindings";

/** Game masters and operators. */
export function isStaff(account: AccountView | null): boolean {
  return account !== null && (account.role === "gm" || account.role === "admin");
}
