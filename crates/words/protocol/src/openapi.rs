//! Schemas that cannot be derived: a zone file takes no unknown field, but what is shown of a zone has
//! its fields beside others.

use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        Ref, RefOr,
        schema::{ObjectBuilder, Schema},
    },
};

use crate::{
    contract::ZoneResponse,
    zone::{GameServer, HostedZone, ReadLevel, ZoneFile, ZoneStatus, ZoneView},
};

/// The properties of both, as one object that may have others.
fn merged(inner: RefOr<Schema>, own: ObjectBuilder) -> RefOr<Schema> {
    let mut own = own.build();
    if let RefOr::T(Schema::Object(inner)) = inner {
        own.required.extend(inner.required);
        own.properties.extend(inner.properties);
    }
    RefOr::T(Schema::Object(own))
}

impl PartialSchema for ZoneView {
    fn schema() -> RefOr<Schema> {
        let status = Ref::from_schema_name(<ZoneStatus as ToSchema>::name());
        let own = ObjectBuilder::new()
            .description(Some("What a player sees of a zone."))
            .property("status", status)
            .required("status")
            .property("players", u32::schema())
            .required("players");
        merged(ZoneFile::schema(), own)
    }
}

impl ToSchema for ZoneView {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        fn named<T: ToSchema>() -> (String, RefOr<Schema>) {
            (<T as ToSchema>::name().into(), T::schema())
        }
        ZoneFile::schemas(schemas);
        schemas.push(named::<ZoneStatus>());
        schemas.push(named::<GameServer>());
        schemas.push(named::<HostedZone>());
        schemas.push(named::<ReadLevel>());
    }
}

impl PartialSchema for ZoneResponse {
    fn schema() -> RefOr<Schema> {
        let mut own = ObjectBuilder::new()
            .description(Some("A zone, with its counters."))
            .property("id", i64::schema())
            .required("id");
        for counter in ["total_sessions", "active_sessions", "total_players_served"] {
            own = own.property(counter, u64::schema()).required(counter);
        }
        merged(ZoneView::schema(), own)
    }
}

impl ToSchema for ZoneResponse {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        ZoneView::schemas(schemas);
    }
}
