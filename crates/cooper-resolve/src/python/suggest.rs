//! Names that may have been meant.

use std::str::FromStr;

use cooper_core::PythonName;

use super::net::Net;

/// How many names the index is asked about.
const ASKED_MAX: usize = 24;
/// How many names are suggested.
const SUGGESTED_MAX: usize = 5;

/// Import names whose distribution has quite another name.
const IMPORTS: [(&str, &str); 40] = [
    ("bio", "biopython"),
    ("bs4", "beautifulsoup4"),
    ("crypto", "pycryptodome"),
    ("cv2", "opencv-python"),
    ("dateutil", "python-dateutil"),
    ("discord", "discord-py"),
    ("dns", "dnspython"),
    ("docx", "python-docx"),
    ("dotenv", "python-dotenv"),
    ("fitz", "pymupdf"),
    ("git", "gitpython"),
    ("github", "pygithub"),
    ("gi", "pygobject"),
    ("jose", "python-jose"),
    ("jwt", "pyjwt"),
    ("kafka", "kafka-python"),
    ("ldap", "python-ldap"),
    ("magic", "python-magic"),
    ("mpl-toolkits", "matplotlib"),
    ("multipart", "python-multipart"),
    ("mysqldb", "mysqlclient"),
    ("nmap", "python-nmap"),
    ("openssl", "pyopenssl"),
    ("osgeo", "gdal"),
    ("pil", "pillow"),
    ("pkg-resources", "setuptools"),
    ("pptx", "python-pptx"),
    ("psycopg2", "psycopg2-binary"),
    ("pywin32", "pypiwin32"),
    ("serial", "pyserial"),
    ("skimage", "scikit-image"),
    ("sklearn", "scikit-learn"),
    ("slugify", "python-slugify"),
    ("telegram", "python-telegram-bot"),
    ("usb", "pyusb"),
    ("websocket", "websocket-client"),
    ("xlsx", "openpyxl"),
    ("yaml", "pyyaml"),
    ("yara", "yara-python"),
    ("zmq", "pyzmq"),
];

/// Names that are often asked for, to find the one meant by a slip of the keyboard.
const FREQUENT: &str = "aiohttp ansible asyncpg attrs awscli azure-core azure-identity azure-storage-blob bcrypt \
beautifulsoup4 black bokeh boto3 botocore cachetools celery certifi cffi chardet charset-normalizer click cloudpickle \
colorama cryptography cython dash dask django djangorestframework dnspython docker docutils duckdb elasticsearch \
exchangelib fabric fastapi filelock flake8 flask fsspec gensim gevent google-api-python-client google-auth \
google-cloud-storage greenlet grpcio gunicorn h5py hiredis html5lib httpx huggingface-hub hypothesis idna imageio \
importlib-metadata ipython jinja2 joblib jsonschema jupyter kafka-python keras kubernetes langchain ldap3 lightgbm \
lxml markdown markupsafe marshmallow matplotlib mechanize mock mongoengine msgpack multidict mypy netmiko networkx \
nltk numba numpy oauthlib openai opencv-python openpyxl orjson packaging pandas paramiko passlib pexpect phonenumbers \
pillow pip platformdirs playwright plotly polars pre-commit prometheus-client protobuf psutil psycopg2-binary \
pyarrow pyasn1 pycparser pycryptodome pydantic pygments pyjwt pylint pymongo pymysql pyodbc pyopenssl pyparsing \
pypdf pyserial pysnmp pyspark pytest python-dateutil python-dotenv python-ldap python-magic python-nmap pytz pyyaml \
pyzmq redis regex requests requests-oauthlib rich rsa s3fs s3transfer scapy scikit-image scikit-learn scipy scrapy \
seaborn selenium sentry-sdk setuptools shapely simplejson six slack-sdk snowflake-connector-python soupsieve spacy \
splunk-sdk sqlalchemy starlette statsmodels stix2 streamlit sympy tabulate taxii2-client tenacity tensorflow termcolor \
toml torch tornado tqdm transformers twisted typer typing-extensions tzdata ujson urllib3 uvicorn virtualenv wand \
watchdog websocket-client websockets werkzeug wheel wrapt xgboost xlrd xlsxwriter xmltodict yara-python yarl zeep";

/// Names that the index has and that may be meant by `name`, the likeliest first.
pub(super) fn names(net: &Net, name: &PythonName) -> Vec<String> {
    let asked: Vec<PythonName> = guesses(name.as_str());
    let there: Vec<bool> = std::thread::scope(|scope| {
        let exists = |guess| {
            net.page(guess)
                .is_ok_and(|page| page.exists && !page.releases.is_empty())
        };
        let threads: Vec<_> = asked
            .iter()
            .map(|guess| scope.spawn(move || exists(guess)))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or(false))
            .collect()
    });
    let found = asked.iter().zip(there).filter(|(_, there)| *there);
    found
        .map(|(guess, _)| guess.to_string())
        .take(SUGGESTED_MAX)
        .collect()
}

/// What may be meant, without asking anybody.
fn guesses(name: &str) -> Vec<PythonName> {
    let mut guesses: Vec<String> = Vec::new();
    let imports = IMPORTS.iter().filter(|(import, _)| *import == name);
    guesses.extend(imports.map(|(_, distribution)| (*distribution).to_owned()));
    let slips = FREQUENT.split_whitespace().filter(|known| near(name, known));
    guesses.extend(nearest_first(name, slips.map(str::to_owned)));
    for prefix in ["python-", "py-", "py", "python3-"] {
        guesses.extend(name.strip_prefix(prefix).map(str::to_owned));
        guesses.push(format!("{prefix}{name}"));
    }
    for suffix in ["-python", "-py", "py", "3", "2"] {
        guesses.extend(name.strip_suffix(suffix).map(str::to_owned));
        guesses.push(format!("{name}{suffix}"));
    }
    guesses.push(name.replace('-', ""));
    guesses.extend(name.strip_suffix('s').map(str::to_owned));
    guesses.push(format!("{name}s"));
    let mut names: Vec<PythonName> = Vec::new();
    for guess in guesses
        .into_iter()
        .filter(|guess| guess.len() > 1 && guess != name)
    {
        if let Ok(guess) = PythonName::from_str(&guess)
            && !names.contains(&guess)
        {
            names.push(guess);
        }
    }
    names.truncate(ASKED_MAX);
    names
}

/// One slip in a short name, two in a long one.
fn near(name: &str, known: &str) -> bool {
    let slips_max = if name.len() < 5 { 1 } else { 2 };
    name.len() > 2 && name != known && strsim::osa_distance(name, known) <= slips_max
}

/// The names, those nearest to `wanted` first.
pub(super) fn nearest_first(wanted: &str, names: impl Iterator<Item = String>) -> Vec<String> {
    let mut names: Vec<String> = names.collect();
    names.sort_by_cached_key(|name| (strsim::osa_distance(wanted, name), name.clone()));
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_likeliest_guess_comes_first() {
        for (wrong, right) in [
            ("bs4", "beautifulsoup4"),
            ("cv2", "opencv-python"),
            ("yaml", "pyyaml"),
            ("sklearn", "scikit-learn"),
            ("pil", "pillow"),
            ("reqeusts", "requests"),
            ("pandsa", "pandas"),
            ("mechanise", "mechanize"),
        ] {
            assert_eq!(guesses(wrong)[0].as_str(), right, "{wrong}");
        }
    }

    #[test]
    fn prefixes_are_put_on_and_taken_off() {
        let names: Vec<String> = guesses("python-frob").iter().map(ToString::to_string).collect();
        assert!(names.contains(&"frob".to_owned()), "{names:?}");
        let names: Vec<String> = guesses("frob").iter().map(ToString::to_string).collect();
        assert!(
            names.contains(&"pyfrob".to_owned()) && names.contains(&"python-frob".to_owned()),
            "{names:?}"
        );
        assert!(names.len() <= ASKED_MAX);
    }

    #[test]
    fn tables_hold_names_as_the_index_writes_them() {
        let names = IMPORTS
            .iter()
            .flat_map(|(import, name)| [*import, *name])
            .chain(FREQUENT.split_whitespace());
        for name in names {
            assert_eq!(PythonName::from_str(name).unwrap().as_str(), name);
        }
    }
}
