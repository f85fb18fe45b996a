/** Which view is shown: the part of the address behind `#`. A view is a page of its own for the back button, not for the node. */
import { useEffect, useState } from "preact/hooks";

export const views = ["mesh", "chat", "exchanges", "policy", "invite"] as const;
export type ViewName = (typeof views)[number];

export type Route = { readonly view: ViewName } | { readonly view: "peer"; readonly id: string };

/** @param hash such as "#/peer/ab12"; anything else is the mesh */
export function routeOf(hash: string): Route {
  const [, name = "", id = ""] = hash.split("/");
  if (name === "peer" && /^[0-9a-f]{10,64}$/.test(id)) return { view: "peer", id };
  return { view: views.find((view) => view === name) ?? "mesh" };
}

/** The address of a view, for links. */
export function linkTo(route: Route): string {
  return route.view === "peer" ? `#/peer/${route.id}` : `#/${route.view}`;
}

export function useRoute(): Route {
  const [hash, setHash] = useState(location.hash);
  useEffect(() => {
    const look = (): void => setHash(location.hash);
    addEventListener("hashchange", look);
    return () => removeEventListener("hashchange", look);
  }, []);
  return routeOf(hash);
}
