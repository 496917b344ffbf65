//! One table of routes, of which both the router and the OpenAPI document are made. A route that is
//! not in the table is not served, and one that is in it is described.

use axum::{
    Router,
    handler::Handler,
    routing::{MethodFilter, MethodRouter, on},
};
use utoipa::{
    IntoParams, ToSchema,
    openapi::{
        ContentBuilder, Header, HttpMethod, InfoBuilder, OpenApi, OpenApiBuilder, Paths, Ref,
        RefOr, Required, Response, ResponseBuilder,
        path::{Operation, OperationBuilder, ParameterBuilder, ParameterIn},
        request_body::RequestBodyBuilder,
        schema::{ArrayBuilder, ComponentsBuilder, Object, Schema, Type},
        security::{
            ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityRequirement, SecurityScheme,
        },
    },
};
use warp_protocol::{contract::TOTAL_COUNT, rest::ErrorBody};

use super::paging::Paging;
use crate::app::App;

/// Where the routes stand; the first one is what the document names.
pub(super) const BASES: [&str; 2] = ["/api/v1", "/api"];

/// Who may ask, where it is not everybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Who {
    /// Whoever has an access token.
    SignedIn,
    /// The same for a socket, which may show its token in the query too.
    SocketToken,
    /// An endpoint, by its own token.
    Endpoint,
    /// The service that plays NPCs, by its own token.
    AiService,
}

/// One route with one method.
pub(super) struct Route {
    method: HttpMethod,
    /// Below a base; or from the top, where it begins with a slash.
    path: &'static str,
    handler: MethodRouter<App>,
    operation: OperationBuilder,
    schemas: Vec<(String, RefOr<Schema>)>,
    statuses: Vec<u16>,
}

fn route<H, T>(filter: MethodFilter, method: HttpMethod, path: &'static str, handler: H) -> Route
where
    H: Handler<T, App>,
    T: 'static,
{
    let mut operation = OperationBuilder::new();
    let id = format!("{}_{path}", method_name(&method));
    let id: String = id
        .chars()
        .filter(|c| !matches!(c, '{' | '}'))
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .collect();
    operation = operation.operation_id(Some(id.trim_end_matches('_')));
    let tag = path.trim_start_matches('/').split('/').next();
    let tag = tag.filter(|tag| !tag.is_empty()).unwrap_or("service");
    operation = operation.tag(tag);
    for name in path.split('/').filter_map(|part| part.strip_prefix('{')) {
        let parameter = ParameterBuilder::new()
            .name(name.trim_end_matches('}'))
            .parameter_in(ParameterIn::Path)
            .required(Required::True)
            .schema(Some(Object::with_type(Type::String)));
        operation = operation.parameter(parameter);
    }
    Route {
        method,
        path,
        handler: on(filter, handler),
        operation,
        schemas: Vec::new(),
        statuses: Vec::new(),
    }
}

macro_rules! methods {
    ($($name:ident $filter:ident $method:ident),*) => {$(
        pub(super) fn $name<H, T>(path: &'static str, handler: H) -> Route
        where
            H: Handler<T, App>,
            T: 'static,
        {
            route(MethodFilter::$filter, HttpMethod::$method, path, handler)
        }
    )*};
}

methods!(get GET Get, post POST Post, patch PATCH Patch, delete DELETE Delete);

fn method_name(method: &HttpMethod) -> &'static str {
    match method {
        HttpMethod::Post => "post",
        HttpMethod::Patch => "patch",
        HttpMethod::Delete => "delete",
        _ => "get",
    }
}

impl Route {
    /// What it does, in a few words.
    pub(super) fn says(mut self, summary: &str) -> Self {
        self.operation = self.operation.summary(Some(summary));
        self
    }

    /// Who may ask. Nobody else is told more than that.
    pub(super) fn who(mut self, who: Who) -> Self {
        let schemes: &[&str] = match who {
            Who::SignedIn => &["access_token"],
            Who::SocketToken => &["access_token", "access_token_in_query"],
            Who::Endpoint => &["endpoint_token"],
            Who::AiService => &["npc_token"],
        };
        for scheme in schemes {
            let wanted = SecurityRequirement::new::<_, [&str; 0], &str>(*scheme, []);
            self.operation = self.operation.security(wanted);
        }
        self.refuses(&[401])
    }

    /// What may be in its query.
    pub(super) fn query<Q: IntoParams>(mut self) -> Self {
        for parameter in Q::into_params(|| Some(ParameterIn::Query)) {
            self.operation = self.operation.parameter(parameter);
        }
        self.refuses(&[422])
    }

    /// The JSON that it wants.
    pub(super) fn body<B: ToSchema>(mut self) -> Self {
        let content = ContentBuilder::new().schema(Some(self.named::<B>()));
        let body = RequestBodyBuilder::new()
            .required(Some(Required::True))
            .content("application/json", content.build());
        self.operation = self.operation.request_body(Some(body.build()));
        self.refuses(&[400, 413, 415, 422])
    }

    /// The JSON that it answers with.
    pub(super) fn answers<A: ToSchema>(mut self, status: u16) -> Self {
        let schema = self.named::<A>();
        self.answer(status, "application/json", Some(schema))
    }

    /// A page of these.
    pub(super) fn lists<A: ToSchema>(mut self) -> Self {
        let items = self.named::<A>();
        let list = Schema::Array(ArrayBuilder::new().items(items).build());
        let content = ContentBuilder::new().schema(Some(list)).build();
        let mut total = Header::new(Object::with_type(Type::Integer));
        total.description = Some("how many there are in all".to_owned());
        let response = ResponseBuilder::new()
            .description("a page of the list")
            .content("application/json", content)
            .header(TOTAL_COUNT, total);
        self.operation = self.operation.response("200", response.build());
        self.query::<Paging>()
    }

    /// A plain array of these.
    pub(super) fn answers_array<A: ToSchema>(mut self) -> Self {
        let items = self.named::<A>();
        let list = Schema::Array(ArrayBuilder::new().items(items).build());
        self.answer(200, "application/json", Some(list.into()))
    }

    /// It answers with a status alone.
    pub(super) fn answers_nothing(self, status: u16) -> Self {
        self.answer(status, "", None)
    }

    /// It answers with JSON of no fixed shape, or with text.
    pub(super) fn answers_with(self, status: u16, content_type: &str) -> Self {
        let any = RefOr::T(utoipa::openapi::schema::empty());
        self.answer(status, content_type, Some(any))
    }

    /// It becomes a WebSocket.
    pub(super) fn upgrades(self) -> Self {
        self.answer(101, "", None).refuses(&[400, 426])
    }

    fn answer(mut self, status: u16, content_type: &str, schema: Option<RefOr<Schema>>) -> Self {
        let description = if status == 101 { "a WebSocket" } else { "done" };
        let mut response = ResponseBuilder::new().description(description);
        if schema.is_some() {
            let content = ContentBuilder::new().schema(schema).build();
            response = response.content(content_type, content);
        }
        self.operation = self
            .operation
            .response(status.to_string(), response.build());
        self
    }

    /// Statuses of its refusals, beside those that follow from what it takes.
    pub(super) fn refuses(mut self, statuses: &[u16]) -> Self {
        self.statuses.extend(statuses);
        self
    }

    fn named<T: ToSchema>(&mut self) -> RefOr<Schema> {
        let name = <T as ToSchema>::name().into_owned();
        T::schemas(&mut self.schemas);
        self.schemas.push((name.clone(), T::schema()));
        RefOr::Ref(Ref::from_schema_name(name))
    }

    /// The path that the document names.
    fn documented(&self) -> String {
        match self.path.starts_with('/') {
            true => self.path.to_owned(),
            false => format!("{}/{}", BASES[0], self.path),
        }
    }

    /// Every path that it is served under. A collection needs no slash at its end.
    fn served(&self) -> Vec<String> {
        if self.path.starts_with('/') {
            return vec![self.path.to_owned()];
        }
        let both = |base: &str| {
            let path = format!("{base}/{}", self.path);
            let short = path.strip_suffix('/').map(str::to_owned);
            [Some(path), short].into_iter().flatten()
        };
        BASES.into_iter().flat_map(both).collect()
    }
}

/// The router of these routes.
pub(super) fn router(routes: Vec<Route>) -> Router<App> {
    let mut router = Router::new();
    for route in routes {
        for path in route.served() {
            router = router.route(&path, route.handler.clone());
        }
    }
    router
}

/// The document of these routes.
pub(super) fn document(routes: Vec<Route>) -> OpenApi {
    let mut paths = Paths::new();
    let mut of_refusals = Vec::new();
    ErrorBody::schemas(&mut of_refusals);
    let mut components = ComponentsBuilder::new()
        .schema_from::<ErrorBody>()
        .schemas_from_iter(of_refusals);
    for route in routes {
        let path = route.documented();
        let Route {
            method,
            operation,
            schemas,
            mut statuses,
            ..
        } = route;
        components = components.schemas_from_iter(schemas);
        let mut operation: Operation = operation.build();
        statuses.sort_unstable();
        statuses.dedup();
        let responses = &mut operation.responses.responses;
        for status in statuses {
            responses.insert(status.to_string(), refusal(status).into());
        }
        responses.insert("default".to_owned(), refusal(0).into());
        paths.add_path_operation(path, vec![method], operation);
    }
    let bearer = || Http::new(HttpAuthScheme::Bearer);
    let in_query = ApiKey::Query(ApiKeyValue::new("token"));
    let components = components
        .security_scheme("access_token", SecurityScheme::Http(bearer()))
        .security_scheme("access_token_in_query", SecurityScheme::ApiKey(in_query))
        .security_scheme("endpoint_token", SecurityScheme::Http(bearer()))
        .security_scheme("npc_token", SecurityScheme::Http(bearer()));
    let info = InfoBuilder::new()
        .title("Warp coordinator")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(
            "Every route below /api/v1/ stands below /api/ too, and a collection without the slash at \
             its end. Every refusal is an ErrorBody with a stable code: 400 for what is not well \
             formed, 422 for a field that is missing or holds what it cannot.",
        ));
    OpenApiBuilder::new()
        .info(info)
        .paths(paths)
        .components(Some(components.build()))
        .build()
}

fn refusal(status: u16) -> Response {
    let says = match status {
        400 => "not well formed",
        401 => "not signed in, or the token counts no more",
        403 => "not the caller's to do",
        404 => "there is no such thing",
        409 => "it does not fit the present state",
        413 => "the body is too large",
        415 => "the body is not JSON",
        422 => "a field is missing or holds what it cannot",
        426 => "the route is a WebSocket",
        429 => "too many requests",
        503 => "something that the coordinator needs does not answer",
        _ => "any other refusal",
    };
    let schema = Ref::from_schema_name(<ErrorBody as ToSchema>::name());
    let content = ContentBuilder::new().schema(Some(schema)).build();
    ResponseBuilder::new()
        .description(says)
        .content("application/json", content)
        .build()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Every reference in the document leads to something.
    #[test]
    fn the_document_is_whole() {
        let document = serde_json::to_value(document(crate::api::routes())).unwrap();
        let text = document.to_string();
        let schemas = document["components"]["schemas"].as_object().unwrap();
        let named = text.split("#/components/schemas/").skip(1);
        for name in named.map(|rest| rest.split('"').next().unwrap()) {
            assert!(schemas.contains_key(name), "{name} is missing");
        }
        let mut ids = BTreeSet::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                assert!(operation["summary"].is_string(), "{method} {path}");
                let id = operation["operationId"].as_str().unwrap();
                assert!(ids.insert(id.to_owned()), "{id} twice");
                let good = |(status, _): (&String, &serde_json::Value)| {
                    status.starts_with('1') || status.starts_with('2')
                };
                assert!(
                    operation["responses"].as_object().unwrap().iter().any(good),
                    "{path}"
                );
            }
        }
        assert_eq!(document["openapi"], "3.1.0");
    }
}
